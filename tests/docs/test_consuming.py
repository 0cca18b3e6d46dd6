"""The guide for consumers is correct: the tests run its program, kill it, and run it again."""

import asyncio
import re
import shlex
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import nats.js.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from ledger.domain.catalog.kinds import EVENTS, KINDS
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import bucket
from ledger.log.stream import STREAM
from ledger.runtime.settings import Settings
from tests.log.reads import wait_for_last_event
from tests.log.samples import CONFIRMED, favour_ref, first_append, next_append
from tests.services.http_server import running_server
from tests.services.instant_ledger import InstantLedger
from tests.sse_client import EventStreamParser

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "consuming.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS: Final = "nats://127.0.0.1:4222"
ACK: Final = "await message.ack()"
EXPLICIT: Final = "ack_policy=AckPolicy.EXPLICIT"
DURABLE: Final = "thank-you-cards"
FILTERS: Final = re.findall(r"^\| `(ledger\.\S+)` \|", PAGE, re.MULTILINE)
WITHIN_S: Final = 30


@pytest.fixture
def log(connection: Connection) -> JetStreamLog:
    return JetStreamLog(connection)


@pytest.fixture
def js(connection: Connection, log: JetStreamLog) -> JetStreamContext:
    return connection.client.jetstream()


@asynccontextmanager
async def running(program: str, settings: Settings) -> AsyncGenerator[asyncio.StreamReader]:
    """Run the program, yield its output, and kill it afterwards."""
    assert ADDRESS in program
    text = program.replace(ADDRESS, settings.nats_url)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def printed(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(WITHIN_S):
        return (await output.readline()).decode()


async def test_the_program_prints_the_events_and_goes_on_where_it_was_killed(
    settings: Settings, log: JetStreamLog, js: JetStreamContext
) -> None:
    favour = favour_ref("chapter")
    await log.append([first_append(favour), first_append(favour_ref("elsewhere"))])
    await log.append([next_append(await wait_for_last_event(log, favour, 1), CONFIRMED)])
    async with running(PROGRAM, settings) as output:
        assert re.match(r"1 [0-9a-f-]{36} referral-ledger\.favour\.claimed\.v1 \{'event': ", await printed(output))
        assert re.match(r"3 [0-9a-f-]{36} referral-ledger\.favour\.confirmed\.v1 \{'event': ", await printed(output))
        await all_acknowledged(js)
    await log.append([first_append(favour_ref("chapter"))])
    async with running(PROGRAM, settings) as output:
        assert (await printed(output)).startswith("4 ")


async def all_acknowledged(js: JetStreamContext) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (await js.consumer_info(STREAM, DURABLE)).num_ack_pending:  # noqa: ASYNC110  NATS sends no notice.
            await asyncio.sleep(0.02)


async def test_what_was_not_acknowledged_comes_again(settings: Settings, log: JetStreamLog) -> None:
    await log.append([first_append(favour_ref("chapter"))])
    assert PROGRAM.count(ACK) == PROGRAM.count(EXPLICIT) == 1
    impatient = PROGRAM.replace(EXPLICIT, f"{EXPLICIT}, ack_wait=1")
    async with running(impatient.replace(ACK, "raise SystemExit"), settings) as output:
        assert (await printed(output)).startswith("1 ")
        assert await printed(output) == ""
    async with running(impatient, settings) as output:
        assert (await printed(output)).startswith("1 ")


@pytest.mark.parametrize("chosen", FILTERS)
async def test_a_filter_of_the_page_gives_what_it_says(chosen: str, log: JetStreamLog, js: JetStreamContext) -> None:
    _, _, community, *below = chosen.split(".")
    kinds = [part for part in below if part in KINDS]
    assert community in {"*", "chapter"}
    assert {f"{kind}.{below[-1]}" for kind in kinds if below[-1].isalpha()} <= EVENTS.keys()
    await js.add_consumer(STREAM, ConsumerConfig(filter_subject=chosen, ack_policy=AckPolicy.NONE), durable_name="d")


async def test_the_bucket_is_left_open_by_all_of_them() -> None:
    assert len(FILTERS) > 3
    assert all(chosen.split(".")[1] == "*" for chosen in FILTERS)
    assert bucket("chapter").isdigit()


# Pitfalls of consumers


async def test_pull_subscribe_goes_on_with_the_old_filter_and_add_consumer_changes_it(
    log: JetStreamLog, js: JetStreamContext
) -> None:
    old, new = "ledger.*.chapter.>", "ledger.*.elsewhere.>"
    await js.add_consumer(STREAM, ConsumerConfig(filter_subject=old), durable_name=DURABLE)
    await js.pull_subscribe(new, durable=DURABLE, stream=STREAM, config=ConsumerConfig(max_ack_pending=1))
    assert (await js.consumer_info(STREAM, DURABLE)).config.filter_subject == old
    await js.add_consumer(STREAM, ConsumerConfig(filter_subject=new), durable_name=DURABLE)
    assert (await js.consumer_info(STREAM, DURABLE)).config.filter_subject == new


async def test_a_consumer_that_was_deleted_says_so_and_begins_at_the_beginning_when_it_is_made_again(
    log: JetStreamLog, js: JetStreamContext
) -> None:
    await log.append([first_append(favour_ref("chapter"))])
    config = ConsumerConfig(filter_subject="ledger.*.chapter.>")
    await js.add_consumer(STREAM, config, durable_name=DURABLE)
    events = await js.pull_subscribe_bind(DURABLE, STREAM)
    for message in await events.fetch(100, timeout=WITHIN_S):
        await message.ack_sync()
    await js.delete_consumer(STREAM, DURABLE)
    with pytest.raises(nats.js.errors.ServiceUnavailableError):
        await events.fetch(100, timeout=1)
    await js.add_consumer(STREAM, config, durable_name=DURABLE)
    (again,) = await events.fetch(100, timeout=WITHIN_S)
    assert again.metadata.sequence.stream == 1


# Events and links in the guide


def test_every_event_it_names_is_one() -> None:
    named = set(re.findall(r"`(\w+(?:-\w+)*\.\w[\w-]*)`", PAGE))
    assert {name for name in named if name.partition(".")[0] in KINDS} <= EVENTS.keys()


def test_every_link_of_it_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", PAGE):
        assert (ROOT / "docs" / link).resolve().exists(), link


# Examples over HTTP

BY_CURL: Final = re.findall(r"^curl .+$", PAGE, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page shows curl, and it is not installed here")
async def test_the_page_and_the_stream_are_what_curl_gets(settings: Settings) -> None:
    """The printed curl commands work. The test replaces only the address and the position, which is earlier."""
    instant_ledger = InstantLedger(settings)
    await instant_ledger.thank_many(3)
    async with running_server(settings) as server:
        poll, stream = (line.replace("25", "1").replace("$L", f"{server.client.base_url}{PATH}") for line in BY_CURL)
        async with saying(poll) as output:
            page = msgspec.json.decode(await asyncio.wait_for(output.read(), WITHIN_S))
            assert [event["position"] for event in page["events"]] == [2, 3]
        async with saying(stream) as output:
            parser = EventStreamParser()
            async with asyncio.timeout(WITHIN_S):
                while len(parser.events) < 2:
                    parser.feed((await output.read(4_096)).decode())
            assert [event.position for event in parser.events] == [2, 3]
            assert [event.envelope for event in parser.events] == [event["event"] for event in page["events"]]


PATH: Final = "/v1/communities/acme"


@asynccontextmanager
async def saying(command: str) -> AsyncGenerator[asyncio.StreamReader]:
    """Run a command line, yield its output, and kill it afterwards."""
    words = shlex.split(command)
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
