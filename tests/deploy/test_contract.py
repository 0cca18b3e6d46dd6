"""Whatever is asked of the real services, right or wrong, is answered as the document says, and never by a 500."""

import asyncio
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from deploy.embedded.ports import HOST, free_port
from tests.deploy.conftest import CommandLine
from tests.services.caller import until

pytestmark = pytest.mark.slow

KEY: Final = "a key of sixteen letters"
EXAMPLES: Final = 12  # Of each operation.
MODERATOR_KEY: Final = "a moderators key of sixteen letters"
# What no schema says: that two must differ, that a key is needed where no id is named, of which list a cursor is.
BEYOND_A_SCHEMA: Final = ["400", "412", "422"]


@pytest.fixture
async def address(beside_servers: CommandLine) -> str:
    """Both services in one process of its own, and a projector beside it."""
    port = free_port()
    beside_servers.variables |= {
        "LEDGER_PORT": str(port),
        "LEDGER_API_KEY": KEY,
        "LEDGER_MODERATOR_KEY": MODERATOR_KEY,
    }
    beside_servers.start("serve", "all")
    beside_servers.start("work", "projector")
    base = f"http://{HOST}:{port}"
    async with httpx.AsyncClient(base_url=base) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(ready)
    return base


def held(operation: Any, number: int) -> None:
    """Ask the operation of random things; every check of every answer holds."""

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


async def test_every_operation_answers_as_documented_whatever_it_is_asked(
    address: str, subtests: pytest.Subtests
) -> None:
    schema: Any = await asyncio.to_thread(schemathesis.openapi.from_url, f"{address}/openapi.json")
    checks = schema.config.checks
    checks.positive_data_acceptance.expected_statuses += BEYOND_A_SCHEMA
    checks.not_a_server_error.expected_statuses += ["503"]  # Documented: a `min_position` that is not reached in time.
    for number, found in enumerate(schema.get_all_operations()):
        operation: Any = found.ok()
        with subtests.test(str(operation.label)):
            await asyncio.to_thread(held, operation, number)
