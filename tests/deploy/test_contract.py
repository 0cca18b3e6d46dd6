"""The real services respond to valid and invalid requests as the OpenAPI document describes, and never with a 500."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_port
from tests.conftest import fresh_ledger
from tests.databases import Databases
from tests.deploy.conftest import in_a_folder, variables_of
from tests.polling import wait_until
from tests.scale import scale

pytestmark = pytest.mark.slow

KEY: Final = "a key of sixteen letters"
EXAMPLES: Final = scale(gate=4, soak=12)  # Examples per operation.
SHARES: Final = 12  # Parts of the list of operations, so that several workers can each run some.
MODERATOR_KEY: Final = "a moderators key of sixteen letters"
# Statuses for conditions that no schema can express. Two members must differ, and a request without an id needs a key.
# A cursor is bound to one list.
BEYOND_A_SCHEMA: Final = ["400", "412", "422"]


@pytest.fixture(scope="module")
async def operations(databases: Databases, nats_server: EmbeddedNats) -> AsyncIterator[list[Any]]:
    """Yield the operations that one process documents and serves. It runs both services, with a projector beside it."""
    async with databases.empty_books() as books:
        settings = await fresh_ledger(books, nats_server)
        port = free_port()
        with in_a_folder() as commands:
            commands.variables |= {
                **variables_of(settings),
                "LEDGER_PORT": str(port),
                "LEDGER_API_KEY": KEY,
                "LEDGER_MODERATOR_KEY": MODERATOR_KEY,
            }
            commands.start("serve", "all")
            commands.start("work", "projector")
            yield await documented(f"http://{HOST}:{port}")


async def documented(base: str) -> list[Any]:
    """Return the documented operations of the service, once it is ready."""
    async with httpx.AsyncClient(base_url=base) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(ready)
    schema: Any = await asyncio.to_thread(schemathesis.openapi.from_url, f"{base}/openapi.json")
    checks = schema.config.checks
    checks.positive_data_acceptance.expected_statuses += BEYOND_A_SCHEMA
    checks.not_a_server_error.expected_statuses += ["503"]  # Documented: a `min_position` not reached in time.
    return [found.ok() for found in schema.get_all_operations()]


def held(operation: Any, number: int) -> None:
    """Send random requests to the operation, and run every check on every response."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if case.query and "wait" in case.query:
            case.query["wait"] = 0
        case.call_and_validate(headers={"Authorization": f"Bearer {MODERATOR_KEY}"}, timeout=30)

    ask()


@pytest.mark.parametrize("share", range(SHARES))
async def test_every_operation_answers_as_documented_whatever_it_is_asked(
    operations: list[Any], share: int, subtests: pytest.Subtests
) -> None:
    assert len(operations) > SHARES
    for number, operation in list(enumerate(operations))[share::SHARES]:
        with subtests.test(str(operation.label)):
            await asyncio.to_thread(held, operation, number)
