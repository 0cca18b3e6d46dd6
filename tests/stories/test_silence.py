"""Rule 5: nothing that the asker can read distinguishes a no from a silence.

The communities contain the same asks. They differ only in what the other members do with them. Every response to the
asker, at any moment, must be the same to the byte.

The comparison excludes one thing: the log positions of the asker's own commands. The log counts the events of all
members. A position that rises by more than the asker's own events reveals that somebody did something. It does not
reveal who or what. The asker needs the position to read their own write. The test replaces such a position by the
number of the asker's command. It leaves every other position as it is, and would detect a difference.
"""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ledger.runtime.settings import Settings
from tests.scale import scale
from tests.stories.observed_community import ASKER, CONNECTORS, HOUR, START, TARGETS
from tests.stories.scenarios import Ask, Ending, Fate, Scenario, differences, observe
from tests.stories.story_ledger import StoryLedger, running_ledger

EXAMPLES: Final = scale(gate=1, soak=8)  # In addition to the explicit examples.
DAY: Final = timedelta(days=1)
LISTS: Final = re.compile(r"^\d+ days?, [\d:.]+: (intros|asks|pending)\b")
SPAN_HOURS: Final = 45 * 24

shares = st.floats(0.01, 0.99)
hours = st.integers(0, SPAN_HOURS)
FATES: Final = st.builds(
    Fate,
    end=st.sampled_from(["ignored", "declined", "refused", "left alone", "never made"]),
    answered=shares,
    then=shares,
    clock=st.sampled_from([None, timedelta(0), HOUR, 4 * DAY]),
)
ASKS: Final = st.builds(
    Ask,
    at=st.integers(0, SPAN_HOURS // 2),
    connector=st.sampled_from(CONNECTORS),
    target=st.sampled_from(TARGETS),
    expects=st.sampled_from([None, 0, 40, 100]),
    respond_by=st.sampled_from([None, None, 1, 72]),
    withdrawn=st.sampled_from([None, None, None, 0, 50, 30 * 24]),
)


def several(elements: st.SearchStrategy[Any], least: int, most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(elements, min_size=least, max_size=most).map(tuple)


SCENARIOS: Final = st.builds(
    Scenario,
    guard=st.sampled_from(["off", "advise", "advise", "enforce"]),
    asks=several(ASKS, 1, 3),
    thanks=several(st.tuples(hours, st.sampled_from([*CONNECTORS, *TARGETS])), 0, 2),
    asks_of_others=several(st.tuples(hours, st.sampled_from([*CONNECTORS, ASKER])), 0, 2),
    read_hours=several(hours, 1, 2),
)
EVERY_FATE: Final = (
    Fate("declined", 0.1),
    Fate("refused", 0.3, 0.3),
    Fate("left alone", 0.9),
    Fate("left alone", 0.1, clock=4 * DAY),
    Fate("never made", 0.5, 0.5),
    Fate("ignored"),
    Fate("ignored", clock=4 * DAY),
)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[StoryLedger]:
    """Yield a ledger without a clock worker. The fates lapse introductions."""
    async with running_ledger(settings, START, clock=False) as ledger:
        yield ledger


@pytest.mark.slow
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scenario=SCENARIOS, fates=st.lists(several(FATES, 3, 3), min_size=3, max_size=3))
@example(
    scenario=Scenario("advise", (Ask(0, "cas", "tom", 40),), read_hours=(24, 10 * 24, 18 * 24, 30 * 24)),
    fates=[(fate,) for fate in EVERY_FATE],
)
@example(
    scenario=Scenario(
        "enforce",
        (Ask(0, "cas", "tom", 40, withdrawn=20 * 24), Ask(1, "cleo", "tess", 10, respond_by=72)),
        thanks=((30 * 24, "cas"),),
        asks_of_others=((2, ASKER),),
        read_hours=(8 * 24, 22 * 24, 31 * 24),
    ),
    fates=[(fate, fate) for fate in EVERY_FATE],
)
async def test_a_no_is_a_silence_to_the_asker(
    ledger: StoryLedger, scenario: Scenario, fates: list[tuple[Fate, ...]]
) -> None:
    silence, *others = await observe(ledger, scenario, fates)
    for fate, observed in zip(fates, others, strict=True):
        revealed = differences(silence, observed)
        assert not revealed, f"the asker can tell {fate}: {revealed[0]}"


@pytest.mark.parametrize("end", ["declined", "refused"])
async def test_a_no_that_is_said_is_seen_from_then_on_and_not_before(ledger: StoryLedger, end: Ending) -> None:
    """This also proves that the comparison can detect a difference."""
    scenario = Scenario("advise", (Ask(0, "cas", "tom", 40),), read_hours=(24, 10 * 24, 40 * 24))
    silence, told, silently = await observe(
        ledger, scenario, [(Fate(end, 0.25, 0.2, disclosed=True),), (Fate(end, 0.25, 0.2),)]
    )
    assert differences(silence, silently) == []
    seen = differences(silence, told)
    # Lists keep the later asks. The advice on these counted one no.
    lists = [line for line in seen if LISTS.match(line)]
    assert {line.partition(",")[0] for line in lists} == {"10 days", "23 days", "24 days", "40 days"}
    others = [line for line in seen if line not in lists]
    assert {line.partition(",")[0] for line in others} == {"10 days", "23 days"}  # Not after 1 day or after 24 days.
    asks = [line for line in seen if line.partition("\n")[0].endswith(": ask 0")]
    assert asks
    assert all('"state":"pending"' in line and '"state":"not_now"' in line for line in asks)
    assert {line.partition("\n")[0].partition(": ")[2] for line in seen} >= {"intros", "intros pending", "asks not_now"}


async def test_a_no_that_is_said_does_not_say_who_said_it(ledger: StoryLedger) -> None:
    scenario = Scenario("advise", (Ask(0, "cas", "tom", 40),), read_hours=(10 * 24, 40 * 24))
    _, *told = await observe(
        ledger, scenario, [(Fate(end, 0.25, 0.2, disclosed=True),) for end in ("declined", "refused")]
    )
    assert differences(*told) == []
