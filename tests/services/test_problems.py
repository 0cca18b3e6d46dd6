"""The catalogue of problems is complete, each is documented where it may occur, and every access needs the key."""

import ast
import importlib
import pkgutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from litestar import Litestar

import deploy
import ledger as ledger_package
import services
import workers
from ledger.books.connection import SchemaMissing
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.values import refusals
from ledger.domain.values.refusals import Refusal
from ledger.log.event_log import Append, Conflict
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings, SettingsError
from ledger.runtime.unavailable import Unavailable
from services.app import ServicePart, application
from services.http.auth import OPEN_PATHS, is_loopback
from services.http.problems import RETRYABLE, STATUS, Internal, NoSuchMethod, NoSuchRoute, on_http, problem_of
from tests.services.bad_requests.case import UNKNOWN_ID
from tests.services.bad_requests.catalogue import every_bad_request
from tests.services.bad_requests.subjects import Subjects
from tests.services.caller import Caller, Clock, problem_in, refused, serving
from tests.services.lifecycles import CLAIM, DISPUTE, FAVOUR, THANKS, by, run_lifecycle

KEY: Final = "a key of sixteen or more"
OUTSIDE_EVERY_ROUTE: Final = frozenset({NoSuchRoute, NoSuchMethod})
THE_CLOCKS_OWN: Final = frozenset({refusals.NotDue})  # No route sends the commands of the clock.


def every(base: type[Exception]) -> Iterator[type[Exception]]:
    for kind in base.__subclasses__():
        if kind.__module__.partition(".")[0] in {"deploy", "ledger", "services", "workers"}:
            yield kind
        yield from every(kind)


def code_of(problem: type[Exception]) -> str:
    code: str = vars(problem)["code"]  # The class defines its own code; an inherited one does not count.
    return code


# Catalogue of problems


def test_whatever_is_refused_or_unavailable_has_a_status() -> None:
    for package in (deploy, ledger_package, services, workers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    assert {*every(Refusal), *every(Unavailable)} - STATUS.keys() == set()


def test_every_problem_has_a_code_of_its_own() -> None:
    without = [problem.__name__ for problem in STATUS if "code" not in vars(problem)]
    assert without == []
    assert len({code_of(problem) for problem in STATUS}) == len(STATUS)


def test_every_problem_says_in_a_sentence_what_it_is() -> None:
    for problem in STATUS:
        title = (problem.__doc__ or "").partition("\n")[0]
        assert title.endswith((".", "?", "`.")), problem
        assert len(title) > 10, problem


def test_what_is_the_servers_fault_for_a_while_is_to_be_tried_again() -> None:
    assert {problem for problem, status in STATUS.items() if status in {503, 504}} <= RETRYABLE
    assert not {problem for problem, status in STATUS.items() if status in {400, 401, 403, 404, 422}} & RETRYABLE


def test_the_facts_of_a_problem_stand_beside_it_and_in_its_sentence() -> None:
    problem = problem_of(refusals.SelfDealing(roles=["giver", "receiver"], id=None))
    assert (problem["roles"], problem["id"]) == (["giver", "receiver"], None)
    assert problem["detail"] == "The parties must be different members (roles: giver, receiver)."


def test_every_problem_is_documented_where_it_may_occur() -> None:
    document: Mapping[str, Any] = application("all", Settings()).openapi()
    documented = {
        (int(status), code)
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for code in response["description"].split(", ")
    }
    elsewhere = OUTSIDE_EVERY_ROUTE | THE_CLOCKS_OWN
    expected = {
        (status, getattr(kind, "code", Internal.code)) for kind, status in STATUS.items() if kind not in elsewhere
    }
    assert documented == expected


def test_every_problem_that_a_route_can_answer_is_met_by_a_test() -> None:
    """Each problem is the response to a bad request, all of which are sent, or a test asserts it."""
    subjects = Subjects(**dict.fromkeys(Subjects.__dataclass_fields__, UNKNOWN_ID))
    met = {(request.status, request.code) for request in every_bad_request(subjects)}
    for path in Path(__file__).parent.glob("test_*.py"):
        met.update(answers_that_are_asserted(ast.parse(path.read_text())))
    assert {(status, code_of(kind)) for kind, status in STATUS.items() if kind not in THE_CLOCKS_OWN} - met == set()


def answers_that_are_asserted(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the status and code of every `refused(answer, status, code)` in a test."""
    for test in module.body:
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
            for call in ast.walk(test):
                match call:
                    case ast.Call(
                        func=ast.Name("refused"),
                        args=[_, ast.Constant(int(status)), ast.Constant(str(code))],
                    ):
                        yield status, code
                    case _:
                        pass


def test_a_code_that_is_only_mentioned_is_not_met() -> None:
    mentioned = """
CODES = ["too_late"]
def test_it():
    assert problem["code"] != "too_late"
    refused(answer, 409, code)
async def asked():
    refused(answer, 409, "too_late")
"""
    met = "async def test_it():\n    with it:\n        refused(await asked(), 409, 'too_late', retryable=False)"
    assert list(answers_that_are_asserted(ast.parse(mentioned))) == []
    assert list(answers_that_are_asserted(ast.parse(met))) == [(409, "too_late")]


def test_a_schema_that_is_not_there_yet_is_not_called_a_mistake() -> None:
    problem = problem_of(SchemaMissing("schema 'books' lacks 0001_baseline"))
    assert (problem["status"], problem["retryable"]) == (503, True)
    assert problem["code"] != Internal.code


# Problems that need a clock, many members or a calendar


async def test_an_entry_is_disputed_within_sixty_days_and_not_later(ledger: Caller, clock: Clock) -> None:
    early, late = await run_lifecycle(ledger, THANKS), await run_lifecycle(ledger, THANKS)

    def about(favour: dict[str, Any]) -> dict[str, Any]:
        return by("bob", about=favour["id"], entry="favour.thanked", code="not_mine")

    clock.ahead = timedelta(days=60, minutes=-1)
    assert (await ledger.post("/disputes", about(early))).status_code == 201
    clock.ahead = timedelta(days=60, minutes=1)
    answer = await ledger.post("/disputes", about(late))
    refused(answer, 409, "too_late", retryable=False)
    latest = datetime.fromisoformat(answer.json()["latest"])
    assert timedelta(0) < clock() - latest < timedelta(minutes=2)
    assert (await ledger.post("/disputes", about(early))).status_code == 201  # Already disputed in time.


async def test_seven_policies_may_be_scheduled_and_no_eighth(ledger: Caller, clock: Clock) -> None:
    async def publishes(day: int) -> httpx.Response:
        starts_at = (clock() + timedelta(days=day)).isoformat()
        return await ledger.post("/policies", by("mod", policy={}, starts_at=starts_at))

    for day in range(1, 8):
        assert (await publishes(day)).status_code == 201
    refused(await publishes(8), 409, "too_many_scheduled", scheduled_max=7)
    assert (await publishes(3)).status_code == 201  # It replaces the policies after it.
    assert (await publishes(8)).status_code == 201


async def test_what_others_change_again_and_again_is_to_be_tried_again(
    ledger: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outpaced(_: JetStreamLog, __: Sequence[Append]) -> list[int]:
        raise Conflict

    favour = await run_lifecycle(ledger, CLAIM)
    monkeypatch.setattr(JetStreamLog, "append", outpaced)
    answer = await ledger.post(f"/favours/{favour['id']}/confirm", by("bob"))
    refused(answer, 409, "contended", retryable=True, kind="favour", id=favour["id"])
    monkeypatch.undo()
    assert (await ledger.post(f"/favours/{favour['id']}/confirm", by("bob"))).status_code == 200


# Internal errors


async def test_a_mistake_of_the_ledger_is_told_as_one_and_tells_nothing_else(
    ledger: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("services.command.routes.view_of", broken)
    answer = await ledger.post("/favours", FAVOUR | by("bob"), key="broken")
    refused(answer, 500, "internal", retryable=False)
    assert "secret" not in answer.text
    assert "secret detail" in capsys.readouterr().out


def test_what_litestar_finds_wrong_beyond_the_catalogue_is_told_as_a_mistake() -> None:
    from litestar.exceptions import ImproperlyConfiguredException
    from litestar.testing import RequestFactory

    request = RequestFactory(app=application("query", Settings()).asgi).get("/")
    answer = on_http(request, ImproperlyConfiguredException("no"))
    assert answer.status_code == 500


# Access by key


@pytest.fixture
def keyed(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, api_key=KEY, unsafe_log=True)


@pytest.fixture
async def guarded(keyed: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving("all", keyed) as client:
        yield client


def routes_of(app: Litestar) -> list[tuple[str, str]]:
    """Return every method and path that is served, with a value for each parameter."""
    return [
        (method, "/".join("x" if part.startswith("{") else part for part in route.path_format.split("/")))
        for route in app.routes
        for method in getattr(route, "methods", {"GET"})
        if method != "OPTIONS"
    ]


async def test_without_the_key_nothing_of_a_community_is_answered(guarded: httpx.AsyncClient, keyed: Settings) -> None:
    answered: set[str] = set()
    routes = routes_of(application("all", keyed).asgi)
    assert len(routes) > 30
    for method, path in routes:
        answer = await guarded.request(method, path)
        if answer.status_code == 401:
            assert method == "HEAD" or problem_in(answer)["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
        else:
            answered.add(path)
    assert all(path.startswith(OPEN_PATHS) for path in answered)
    assert all(any(path.startswith(open_path) for path in answered) for open_path in OPEN_PATHS)


WRONG_KEYS: Final = (
    "",
    "Bearer",
    "Bearer ",
    f"Bearer {KEY}x",
    f"Bearer {KEY[:-1]}",
    f"Basic {KEY}",
    KEY,
    f"Bearer x {KEY}",
    "Bearer \xe9",
)
RIGHT_KEYS: Final = (f"Bearer {KEY}", f"bearer {KEY}", f"Bearer   {KEY}")


async def test_the_right_key_lets_in_and_no_other(guarded: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    summary = "/v1/communities/acme/summary"
    for authorization in WRONG_KEYS:
        with subtests.test(authorization):
            headers = {b"Authorization": authorization.encode("latin-1")}
            refused(await guarded.get(summary, headers=headers), 401, "unauthorized", retryable=False)
    for authorization in RIGHT_KEYS:
        with subtests.test(authorization):
            assert (await guarded.get(summary, headers={"Authorization": authorization})).status_code == 200


async def test_without_the_key_nothing_is_recorded(guarded: httpx.AsyncClient, log: JetStreamLog) -> None:
    refused(await Caller(guarded).post("/favours", FAVOUR | by("bob"), key="k"), 401, "unauthorized")
    assert await log.end() == 0


async def test_on_loopback_alone_no_key_is_needed(ledger: Caller) -> None:
    assert (await ledger.get("/summary")).status_code == 200
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.10"):
        assert is_loopback(host)
        application("all", Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "ledger.example", ""])  # noqa: S104
@pytest.mark.parametrize("part", ["command", "query", "all"])
def test_nothing_starts_that_everybody_could_write_to(part: ServicePart, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match="LEDGER_API_KEY is not set"):
        application(part, Settings(host=host))
    application(part, Settings(host=host, api_key=KEY))


@pytest.mark.parametrize(("part", "writes", "reads"), [("command", 400, 404), ("query", 405, 200)])
async def test_each_part_serves_its_own_routes(settings: Settings, part: ServicePart, writes: int, reads: int) -> None:
    async with serving(part, settings) as client:
        assert (await client.post("/v1/communities/acme/favours", json={})).status_code == writes
        assert (await client.get("/v1/communities/acme/summary")).status_code == reads
        assert set((await client.get("/readyz")).json()) == {"status", "log" if part == "command" else "books"}
        assert (await client.get("/openapi.json")).json()["info"]["title"] == f"Referral ledger: {part}"


# Access of moderators

MODERATORS_KEY: Final = "another key, for those who judge"


@pytest.fixture
async def moderated(keyed: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving("all", msgspec.structs.replace(keyed, moderator_key=MODERATORS_KEY)) as client:
        yield client


@asynccontextmanager
async def speaking(client: httpx.AsyncClient, key: str) -> AsyncGenerator[Caller]:
    """Yield a caller with this key."""
    before = client.headers.get("Authorization")
    client.headers["Authorization"] = f"Bearer {key}"
    yield Caller(client)
    if before is None:
        del client.headers["Authorization"]
    else:
        client.headers["Authorization"] = before


async def judgements(client: httpx.AsyncClient) -> list[tuple[str, dict[str, Any], int]]:
    """Return every operation that needs a moderator, with its body and its status when it succeeds."""
    async with speaking(client, KEY) as anybody:
        upheld, rejected = [(await run_lifecycle(anybody, DISPUTE))["id"] for _ in range(2)]
    starts_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return [
        (f"/disputes/{upheld}/uphold", by("mod"), 200),
        (f"/disputes/{rejected}/reject", by("mod"), 200),
        ("/policies", by("mod", policy={}, starts_at=starts_at), 201),
    ]


def test_these_are_all_that_take_a_moderator() -> None:
    moderated = {name for name, operation in OPERATIONS.items() if operation.scope is not None}
    assert moderated == {"dispute.uphold", "dispute.reject", "policy.publish"}


async def test_only_a_moderators_key_may_judge_and_publish(moderated: httpx.AsyncClient, log: JetStreamLog) -> None:
    for path, body, carried_out in await judgements(moderated):
        position = await log.end()
        refused(await Caller(moderated).post(path, body), 401, "unauthorized")
        async with speaking(moderated, "no key that anybody knows") as nobody:
            refused(await nobody.post(path, body), 401, "unauthorized")
        async with speaking(moderated, KEY) as anybody:
            refused(await anybody.post(path, body), 403, "not_a_moderator", retryable=False)
        assert await log.end() == position
        async with speaking(moderated, MODERATORS_KEY) as moderator:
            assert (await moderator.post(path, body)).status_code == carried_out
        assert await log.end() == position + 1


async def test_a_moderators_key_lets_in_like_any_other(moderated: httpx.AsyncClient) -> None:
    for key in (KEY, MODERATORS_KEY):
        async with speaking(moderated, key) as caller:
            assert (await caller.get("/summary")).status_code == 200
            assert (await caller.post("/favours", FAVOUR | by("bob"), key=key.replace(" ", "-"))).status_code == 201


async def test_where_there_is_no_moderators_key_nobody_may_judge(guarded: httpx.AsyncClient) -> None:
    for path, body, _ in await judgements(guarded):
        async with speaking(guarded, KEY) as anybody:
            refused(await anybody.post(path, body), 403, "not_a_moderator")


async def test_on_loopback_without_keys_anybody_may_judge(ledger: Caller) -> None:
    opened = await run_lifecycle(ledger, DISPUTE)
    assert (await ledger.post(f"/disputes/{opened['id']}/uphold", by("mod"))).status_code == 200
    refused(await ledger.post(f"/disputes/{opened['id']}/uphold", by("bob")), 403, "party_to_it")


async def test_in_a_batch_each_item_takes_the_key_that_its_own_route_takes(moderated: httpx.AsyncClient) -> None:
    async with speaking(moderated, KEY) as anybody:
        dispute = (await run_lifecycle(anybody, DISPUTE))["id"]
    items = [
        {"op": "favour.record", "body": FAVOUR | by("bob"), "idempotency_key": "first"},
        {"op": "dispute.reject", "body": by("mod"), "id": dispute},
        {"op": "favour.record", "body": FAVOUR | by("bob"), "idempotency_key": "last"},
    ]
    refused(await Caller(moderated).post("/batch", items), 401, "unauthorized")
    async with speaking(moderated, KEY) as anybody:
        results = (await anybody.post("/batch", items)).json()
        assert [result["status"] for result in results] == ["recorded", "refused", "recorded"]
        assert (results[1]["problem"]["status"], results[1]["problem"]["code"]) == (403, "not_a_moderator")
    async with speaking(moderated, MODERATORS_KEY) as moderator:
        results = (await moderator.post("/batch", items)).json()
        assert [result["status"] for result in results] == ["replayed", "recorded", "replayed"]
        assert results[1]["state"] == "rejected"
