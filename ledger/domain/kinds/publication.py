"""Publication: the versions of a community's policy, each with the time at which it starts.

`published`, repeatedly. Before the first publication, the default policy holds as version 1.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, assert_never, get_args
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import fields, replace

from ledger.domain.values.aggregate_types import Creation, Event, State, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.ids import Instant
from ledger.domain.values.points import DealBand, Level, Size
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import Bug, PolicyInvalid, StartsOutOfRange, TooManyScheduled

POLICY_IDS: Final = UUID("b1fbd5a5-5b2c-5d0e-8f0f-6d5d3f6c9a11")

POLICY_NOTICE: Final = timedelta(minutes=1)
"""The shortest time from publication to start. The executor may cache the policy in force for half of it."""
POLICY_AHEAD_MAX: Final = timedelta(days=365)
POLICY_DURATION_MAX: Final = timedelta(days=3_650)

VERSIONS_MAX: Final = 8
SCHEDULED_MAX: Final = VERSIONS_MAX - 1  # One place is for the policy in force.

REQUIRED_KEYS: Final[Mapping[str, frozenset[str | int]]] = MappingProxyType(
    {
        "size_points": frozenset(get_args(Size)),
        "level_points": frozenset(get_args(Level)),
        "band_points": frozenset(get_args(DealBand)),
    }
)
DURATION_FIELDS: Final = tuple(field.name for field in fields(Policy) if field.type is timedelta)

# States


class PolicyVersion(Struct, frozen=True, kw_only=True, gc=False):
    """A policy, and the time at which it starts."""

    starts_at: Instant
    policy: Policy


class Published(State, frozen=True, kw_only=True, tag="published"):
    """The newest versions, at most 8, in the order of their starts: the one in force and all scheduled ones."""

    versions: tuple[PolicyVersion, ...]


Publication = Published

# Events


class PolicyPublished(Event, frozen=True, kw_only=True, tag="policy.published"):
    """A new version starts at `starts_at`. It replaces all versions that would start then or later."""

    starts_at: Instant
    policy: Policy


PublicationEvent = PolicyPublished

# Commands


class PublishPolicy(Creation, frozen=True, kw_only=True):
    """Publish a new version of the community's policy.

    A field that `policy` omits takes the default, not the value in force. The version starts at least a minute and at
    most a year from now.
    """

    policy: Policy
    starts_at: Instant

    def own_id(self, community: str) -> UUID:
        return publication_id(community)


PublicationCommand = PublishPolicy


def publication_id(community: str) -> UUID:
    """Return UUIDv5 (RFC 9562) of the community, which has one publication."""
    return uuid5(POLICY_IDS, community)


def evolve(state: Publication | None, event: PublicationEvent) -> Publication:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a version out of order)."""
    newest = newest_version(state)
    if event.policy.version != newest + 1:
        raise Bug(f"{tag_of(event)} of version {event.policy.version} after {newest}")
    published = state.versions if state is not None else ()
    earlier = [version for version in published if version.starts_at < event.starts_at]
    versions = (*earlier, PolicyVersion(starts_at=event.starts_at, policy=event.policy))
    return Published(versions=versions[-VERSIONS_MAX:])


def decide(command: PublicationCommand, state: Publication | None, context: Context) -> PublicationEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#policy.

    Raises: Refusal, with nothing recorded.
    """
    match command:
        case PublishPolicy():
            return publish(command, state, context)
        case _:
            assert_never(command)


def publish(command: PublishPolicy, state: Publication | None, context: Context) -> PolicyPublished | None:
    """Return the event of the next version. See docs/domain.md#scheduled-policies."""
    newest = newest_version(state)
    versions = state.versions if state is not None else ()
    if versions and versions[-1] == PolicyVersion(
        starts_at=command.starts_at, policy=replace(command.policy, version=newest)
    ):
        return None  # A repeat is a no-op, even after the version has started.
    require_valid(command.policy)
    earliest, latest = context.now + POLICY_NOTICE, context.now + POLICY_AHEAD_MAX
    if not earliest <= command.starts_at <= latest:
        raise StartsOutOfRange(field="starts_at", earliest=earliest, latest=latest)
    if sum(context.now < version.starts_at < command.starts_at for version in versions) >= SCHEDULED_MAX:
        raise TooManyScheduled(scheduled_max=SCHEDULED_MAX)
    return PolicyPublished(starts_at=command.starts_at, policy=replace(command.policy, version=newest + 1))


def require_valid(policy: Policy) -> None:
    """Check the limits that the types cannot express: complete mappings, and durations above 0, at most 3,650 days.

    Raises: PolicyInvalid, with the first wrong field, and with nothing recorded.
    """
    for name, keys in REQUIRED_KEYS.items():
        if getattr(policy, name).keys() != keys:
            raise PolicyInvalid(field=name)
    for name in DURATION_FIELDS:
        if not timedelta(0) < getattr(policy, name) <= POLICY_DURATION_MAX:
            raise PolicyInvalid(field=name)


def newest_version(state: Publication | None) -> int:
    """Return the version that was published last, even if it has not started."""
    return state.versions[-1].policy.version if state is not None else DEFAULT_POLICY.version


def policy_in_force(state: Publication | None, now: datetime) -> Policy:
    """Return the policy that decisions at `now` use. See docs/domain.md#policy-in-force."""
    versions = state.versions if state is not None else ()
    started = [version.policy for version in versions if version.starts_at <= now]
    return started[-1] if started else DEFAULT_POLICY
