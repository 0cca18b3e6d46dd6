"""Policy: the points and durations of decisions, and how a community changes them."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.domain.catalog.kinds import POLICY
from ledger.domain.kinds.favour import ConfirmFavour
from ledger.domain.kinds.publication import (
    DURATION_FIELDS,
    REQUIRED_KEYS,
    PolicyPublished,
    PolicyVersion,
    Published,
    PublishPolicy,
    decide,
    evolve,
    policy_in_force,
)
from ledger.domain.values.aggregate_types import Event, State
from ledger.domain.values.context import Context
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import Bug, PolicyInvalid, StartsOutOfRange, TooManyScheduled
from tests.domain.spec import MOMENT, NOW, days, given, stored
from tests.domain.strategies import structs_of

ADMIN: Final = "ada"
NOTICE: Final = timedelta(minutes=1)
YEAR: Final = days(365)

# Written by hand from docs/domain.md#policy-fields.
PAGE: Final[dict[str, Any]] = {
    "version": 1,
    "size_points": {"small": 60, "medium": 120, "large": 240},
    "level_points": {"1": 30, "2": 60, "3": 120, "4": 240, "5": 360},
    "band_points": {"S": 60, "M": 120, "L": 240, "XL": 480},
    "parent_points": 60,
    "met_points": 30,
    "asker_fault_points": 60,
    "stake_from_level": 3,
    "favour_claim": "P14D",
    "referral_unanswered": "P14D",
    "referral_open": "P90D",
    "intro_unanswered": "P14D",
    "intro_accepted": "P10D",
    "intro_made": "P90D",
    "dispute_within": "P60D",
    "dispute_open": "P30D",
    "guard": "advise",
    "credit_base": 120,
    "credit_sponsored": 360,
    "credit_max": 2400,
    "credit_per_counterparty": 360,
    "riding_net_permille": 700,
    "riding_ratio_permille": 200,
    "riding_received_min": 5,
    "riding_within": "P180D",
    "newcomer": "P90D",
    "newcomer_items": 3,
    "open_asks_max": 5,
    "inbound_asks_max": 4,
    "inbound_within": "P30D",
    "ask_again": "P30D",
}


def thanks_at(points: int) -> Policy:
    """Return a policy that a test recognises by its points for a meeting."""
    return Policy(met_points=points)


def published(version: int, starts_at: datetime, policy: Policy) -> PolicyPublished:
    return PolicyPublished(starts_at=starts_at, policy=replace(policy, version=version))


def publish(starts_at: datetime, policy: Policy) -> PublishPolicy:
    return PublishPolicy(actor=ADMIN, policy=policy, starts_at=starts_at)


def state_after(*history: PolicyPublished) -> Published | None:
    state: Published | None = None
    for event in history:
        state = evolve(state, event)
    return state


def met_points(state: Published | None, now: datetime) -> int:
    return policy_in_force(state, now).met_points


# Numbers of a policy


def test_the_defaults_are_those_of_the_page() -> None:
    assert msgspec.to_builtins(DEFAULT_POLICY, str_keys=True) == PAGE
    assert Policy() == DEFAULT_POLICY


@for_any(policy=structs_of(Policy))
def test_a_policy_survives_being_stored_whole(policy: Policy) -> None:
    assert stored(policy, Policy) == policy
    assert set(msgspec.json.decode(msgspec.json.encode(policy))) == set(PAGE)


def test_what_a_caller_leaves_out_is_the_default() -> None:
    assert msgspec.json.decode(b"{}", type=Policy) == DEFAULT_POLICY
    assert msgspec.json.decode(b'{"guard": "off"}', type=Policy) == Policy(guard="off")


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("version", -1),
        ("size_points", {"huge": 1}),
        ("size_points", {"small": -1}),
        ("size_points", {"small": 1_000_001}),
        ("level_points", {"6": 30}),
        ("level_points", {"one": 30}),
        ("level_points", {"1": 31}),
        ("level_points", {"1": 30.5}),
        ("band_points", {"S": True}),
        ("parent_points", -1),
        ("met_points", 1_000_001),
        ("stake_from_level", 0),
        ("stake_from_level", 7),
        ("favour_claim", 14),
        ("favour_claim", "P1Y"),
        ("favour_claim", "two weeks"),
        ("guard", "maybe"),
        ("riding_net_permille", 1_001),
        ("riding_ratio_permille", -1),
        ("open_asks_max", -1),
    ],
)
def test_a_number_out_of_its_range_is_refused(field: str, bad: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        msgspec.json.decode(msgspec.json.encode({field: bad}), type=Policy)


def test_a_field_that_is_no_policy_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `leaderboard`"):
        msgspec.json.decode(b'{"leaderboard": true}', type=Policy)


def test_the_stake_is_half_from_level_three_on() -> None:
    levels = get_args(get_args(get_type_hints(Policy)["level_points"])[0])
    assert [DEFAULT_POLICY.stake_points(level, 120) for level in levels] == [0, 0, 60, 60, 60]
    assert [Policy(stake_from_level=6).stake_points(level, 120) for level in levels] == [0, 0, 0, 0, 0]


# Publication


def test_the_first_that_is_published_is_version_two() -> None:
    starts_at = NOW + days(1)
    recorded = given().when(publish(starts_at, thanks_at(40))).then(published(2, starts_at, thanks_at(40)))
    recorded.posting_nothing().leaving(
        "published", versions=(PolicyVersion(starts_at=starts_at, policy=Policy(version=2, met_points=40)),)
    )


def test_the_ledger_counts_the_versions_whatever_a_caller_says() -> None:
    first = published(2, NOW + days(1), thanks_at(40))
    claimed = publish(NOW + days(2), Policy(version=700, met_points=50))
    given(first).when(claimed).then(published(3, NOW + days(2), thanks_at(50)))


def test_publishing_the_newest_again_records_nothing_even_when_it_has_started() -> None:
    starts_at = NOW + days(1)
    history = published(2, starts_at, thanks_at(40))
    given(history).when(publish(starts_at, thanks_at(40))).then_nothing()
    given(history).when(publish(starts_at, Policy(version=9, met_points=40)), at=starts_at + YEAR).then_nothing()


def test_the_same_policy_from_another_day_is_another_version() -> None:
    history = published(2, NOW + days(1), thanks_at(40))
    given(history).when(publish(NOW + days(2), thanks_at(40))).then(published(3, NOW + days(2), thanks_at(40)))


def test_the_default_can_be_published_and_so_come_back() -> None:
    history = published(2, NOW - days(1), thanks_at(40))
    given(history).when(publish(NOW + days(1), DEFAULT_POLICY)).then(published(3, NOW + days(1), DEFAULT_POLICY))


@pytest.mark.parametrize("ahead", [NOTICE, days(1), YEAR])
def test_a_policy_starts_between_a_minute_and_a_year_from_now(ahead: timedelta) -> None:
    given().when(publish(NOW + ahead, DEFAULT_POLICY)).then_recorded("policy.published")


@pytest.mark.parametrize("ahead", [-days(1), timedelta(0), NOTICE - MOMENT, YEAR + MOMENT])
def test_a_policy_starts_neither_at_once_nor_too_far_ahead(ahead: timedelta) -> None:
    given().when(publish(NOW + ahead, DEFAULT_POLICY)).then_refused(
        StartsOutOfRange, field="starts_at", earliest=NOW + NOTICE, latest=NOW + YEAR
    )


@pytest.mark.parametrize("field", REQUIRED_KEYS)
def test_a_mapping_has_all_of_its_keys_and_no_others(field: str) -> None:
    whole: dict[Any, int] = dict(getattr(DEFAULT_POLICY, field))
    for key in whole:
        some = {name: points for name, points in whole.items() if name != key}
        lacking = replace(DEFAULT_POLICY, **{field: some})
        given().when(publish(NOW + days(1), lacking)).then_refused(PolicyInvalid, field=field)
    more = replace(DEFAULT_POLICY, **{field: {**whole, "more": 2}})
    given().when(publish(NOW + days(1), more)).then_refused(PolicyInvalid, field=field)


@pytest.mark.parametrize("field", DURATION_FIELDS)
def test_a_duration_is_longer_than_none_and_not_longer_than_ten_years(field: str) -> None:
    for good in (MOMENT, days(3_650)):
        policy = replace(DEFAULT_POLICY, **{field: good})
        given().when(publish(NOW + days(1), policy)).then_recorded("policy.published")
    for bad in (timedelta(0), -days(1), days(3_650) + MOMENT):
        policy = replace(DEFAULT_POLICY, **{field: bad})
        given().when(publish(NOW + days(1), policy)).then_refused(PolicyInvalid, field=field)


def test_every_mapping_and_every_duration_of_the_policy_is_looked_at() -> None:
    hints = get_type_hints(Policy)
    assert set(DURATION_FIELDS) == {name for name, hint in hints.items() if hint is timedelta}
    mappings = {name: get_args(get_args(hint)[0]) for name, hint in hints.items() if get_origin(hint) is not None}
    mappings.pop("guard")
    assert mappings.keys() == REQUIRED_KEYS.keys()
    assert all(
        set(keys) == REQUIRED_KEYS[name] == set(getattr(DEFAULT_POLICY, name)) for name, keys in mappings.items()
    )


# Policy in force


def test_before_anything_is_published_the_default_is_in_force() -> None:
    assert policy_in_force(None, NOW) == DEFAULT_POLICY
    assert DEFAULT_POLICY.version == 1


def test_a_policy_is_in_force_from_its_start_on_and_not_a_moment_before() -> None:
    state = state_after(published(2, NOW, thanks_at(40)), published(3, NOW + days(1), thanks_at(50)))
    assert [policy_in_force(state, NOW - MOMENT).version, met_points(state, NOW - MOMENT)] == [1, 30]
    assert [policy_in_force(state, NOW).version, met_points(state, NOW)] == [2, 40]
    assert met_points(state, NOW + days(1) - MOMENT) == 40
    assert [policy_in_force(state, NOW + days(1)).version, met_points(state, NOW + days(1000))] == [3, 50]


@pytest.mark.parametrize("earlier", [timedelta(0), MOMENT, days(1)])
def test_a_later_publication_takes_the_place_of_what_was_to_start_then_or_after(earlier: timedelta) -> None:
    monday, friday = NOW + days(1), NOW + days(5)
    state = state_after(
        published(2, monday, thanks_at(40)),
        published(3, friday, thanks_at(50)),
        published(4, friday - earlier, thanks_at(60)),
    )
    assert state is not None
    assert [version.policy.version for version in state.versions] == [2, 4]
    assert met_points(state, monday) == 40
    assert met_points(state, friday) == 60


def test_at_most_seven_are_scheduled_so_that_the_one_in_force_is_never_forgotten() -> None:
    current = published(2, NOW - days(1), thanks_at(32))
    scheduled = [published(3 + n, NOW + days(1 + n), thanks_at(34 + 2 * n)) for n in range(7)]
    *six, _ = scheduled
    given(current, *six).when(publish(NOW + days(7), thanks_at(46))).then(scheduled[-1])
    full = given(current, *scheduled)
    full.when(publish(NOW + days(8), thanks_at(48))).then_refused(TooManyScheduled, scheduled_max=7)
    full.when(publish(NOW + days(7), thanks_at(48))).then(published(10, NOW + days(7), thanks_at(48)))
    full.when(publish(NOW + days(8), thanks_at(48)), at=NOW + days(1)).then_recorded("policy.published")
    assert met_points(state_after(current, *scheduled), NOW) == 32


class Calendar:
    """A simple model of docs/domain.md#scheduled-policies: it keeps every publication."""

    def __init__(self) -> None:
        self.said: list[tuple[datetime, Policy]] = []

    def publish(self, starts_at: datetime, policy: Policy) -> None:
        self.said.append((starts_at, policy))

    def in_force(self, now: datetime) -> Policy:
        """Return the started policy with the latest start.

        A later publication cancels each policy that starts at the same time or after it.
        """
        standing = [
            (starts_at, policy)
            for n, (starts_at, policy) in enumerate(self.said)
            if not any(later <= starts_at for later, _ in self.said[n + 1 :])
        ]
        started = [(starts_at, policy) for starts_at, policy in standing if starts_at <= now]
        return max(started, key=lambda entry: entry[0])[1] if started else DEFAULT_POLICY


@for_any(
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 300), st.integers(0, 3).map(thanks_at)), min_size=1, max_size=30
    )
)
def test_whatever_is_published_the_policy_in_force_is_the_one_that_people_were_told(
    steps: list[tuple[int, int, Policy]],
) -> None:
    """In each step, days pass and a policy is published for some days ahead."""
    now, state, told = NOW, state_after(), Calendar()
    for passed, ahead, policy in steps:
        now += days(passed)
        before = policy_in_force(state, now)
        try:
            event = decide(publish(now + days(ahead), policy), state, Context(now=now))
        except TooManyScheduled:
            continue
        if event is None:
            continue
        told.publish(event.starts_at, event.policy)
        state = evolve(state, event)
        assert len(state.versions) <= 8
        assert all(one.starts_at < other.starts_at for one, other in pairwise(state.versions))
        assert policy_in_force(state, now) == before, "It changed without notice."
        for later in range(0, 400, 10):
            assert policy_in_force(state, now + days(later)) == told.in_force(now + days(later))


# Impossible histories


@pytest.mark.parametrize("version", [0, 1, 2, 4])
def test_a_version_that_does_not_follow_the_newest_is_corrupt_history(version: int) -> None:
    history = published(2, NOW, DEFAULT_POLICY)
    with pytest.raises(Bug, match=rf"^policy\.published of version {version} after 2$"):
        evolve(state_after(history), published(version, NOW + days(1), DEFAULT_POLICY))
    if version != 2:
        with pytest.raises(Bug, match=rf"^policy\.published of version {version} after 1$"):
            evolve(None, published(version, NOW, DEFAULT_POLICY))


def test_a_community_has_one_policy() -> None:
    one, other = publish(NOW, DEFAULT_POLICY), publish(NOW + YEAR, thanks_at(40))
    assert one.own_id("acme") == other.own_id("acme") != one.own_id("beta")


def test_a_command_that_went_astray_is_not_taken_for_a_policy() -> None:
    stray: Any = ConfirmFavour(actor=ADMIN)
    with pytest.raises((Bug, AssertionError)):
        decide(stray, None, Context(now=NOW))


def test_the_kind_of_a_policy_has_one_state_and_one_event() -> None:
    events: tuple[type[Event], ...] = (PolicyPublished,)
    states: type[State] = Published
    assert (POLICY.events, POLICY.states) == (events, states)
