"""The oracle: it shares no code with the product, and its results equal the examples of docs/domain.md."""

import ast
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest

from tests.oracle import standing
from tests.oracle.aggregates import Event
from tests.oracle.expected_books import ExpectedBooks
from tests.oracle.legs import Leg, total_of

PRODUCT: Final = frozenset({"deploy", "ledger", "services", "workers"})
MODULES: Final = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_"))
NOW: Final = datetime(2026, 3, 2, tzinfo=UTC)
PARTIES: Final = {"asker": "ann", "connector": "cas", "target": "tom"}
Step = tuple[str, dict[str, Any]]  # The name of an event, and the facts other than the parties.
ASKED: Final[list[Step]] = [
    ("intro.asked", {}),
    ("intro.accepted", {"level": 3}),
    ("intro.consented", {}),
    ("intro.made", {}),
    ("intro.met", {}),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_oracle_imports_nothing_of_the_product(module: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert {name.partition(".")[0] for name in imported} & PRODUCT == set()


def balances_after(*events: Step) -> dict[str, dict[str, int]]:
    """Return the accounts and gross tallies of each member, without zeros, after events of one introduction."""
    books, legs = ExpectedBooks(), list[Leg]()
    for position, (name, facts) in enumerate(events, 1):
        event = Event(position, name, NOW, "acme", "intro", "one", PARTIES | facts)
        legs += books.apply(event)
    balances: dict[str, dict[str, int]] = {}
    for (member, tally), points in total_of(legs).items():
        if points:
            balances.setdefault(member, {})[tally] = points
    return balances


def test_an_introduction_of_level_3_is_worth_120_points_and_the_meeting_30() -> None:
    assert balances_after(*ASKED) == {
        "ann": {"main": -150, "received": 150},
        "cas": {"main": 60, "stake": 60, "given": 120},
        "tom": {"main": 30, "given": 30},
    }


def test_a_connector_at_fault_returns_the_points_and_loses_the_stake() -> None:
    assert balances_after(*ASKED, ("intro.closed", {"fault": "connector"})) == {
        "ann": {"main": -30, "received": 150, "given": 120},
        "cas": {"main": -60, "given": 120, "received": 180},
        "tom": {"main": 90, "given": 90},
    }


def test_an_asker_at_fault_pays_both_and_the_stake_returns() -> None:
    assert balances_after(*ASKED, ("intro.closed", {"fault": "asker"})) == {
        "ann": {"main": -270, "received": 270},
        "cas": {"main": 180, "given": 180},
        "tom": {"main": 90, "given": 90},
    }


def test_each_of_two_pays_half_of_a_match() -> None:
    offered: list[Step] = [
        ("intro.offered", {"level": 3}),
        ("intro.consented", {}),
        ("intro.consented", {}),
        ("intro.made", {}),
    ]
    assert balances_after(*offered) == {
        "ann": {"main": -60, "received": 60},
        "tom": {"main": -60, "received": 60},
        "cas": {"main": 60, "stake": 60, "given": 120},
    }


def test_a_point_weighs_twice_as_much_180_days_later() -> None:
    assert standing.rounded_weight(1, standing.LANDMARK) == 2**20
    assert standing.rounded_weight(1, standing.LANDMARK + timedelta(days=180)) == 2**21


def test_standing_starts_in_the_middle() -> None:
    assert standing.reciprocity(0, 0) == standing.reliability(0, 0) == Fraction(1, 2)
