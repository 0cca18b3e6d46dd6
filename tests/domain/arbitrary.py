"""Arbitrary events, commands and facts, for promises that hold whatever is said."""

from datetime import timedelta
from types import NoneType
from typing import Any, Final, TypeVar, get_args, get_type_hints

from hypothesis import strategies as st
from msgspec import Struct

from ledger.domain.values import Amount, Instant, MemberId, ProspectId, Tags
from tests.domain.spec import NOW

CAST: Final = ("ada", "bob", "cyd", "dee")
PROSPECTS: Final = ("prospect-7", "prospect-8")
MOST_POINTS: Final = 2**40

members = st.sampled_from(CAST)
instants = st.integers(-400, 400).map(lambda hours: NOW + timedelta(hours=hours))

S = TypeVar("S", bound=Struct)

# By equality: an annotated type need not have a hash.
KNOWN: Final[list[tuple[Any, st.SearchStrategy[Any]]]] = [
    (MemberId, members),
    (ProspectId, st.sampled_from(PROSPECTS)),
    (Tags, st.lists(st.sampled_from(["law", "tax"]), max_size=2, unique=True).map(tuple)),
    (Instant, instants),
    (Amount, st.integers(0, MOST_POINTS)),
]


def arbitrary_field(hint: Any) -> st.SearchStrategy[Any]:
    """Anything of this type; an id is one of a few, so that stories meet."""
    for known, strategy in KNOWN:
        if hint == known:
            return strategy
    if NoneType in get_args(hint):
        return st.one_of([st.none() if part is NoneType else arbitrary_field(part) for part in get_args(hint)])
    any_of_it: st.SearchStrategy[Any] = st.from_type(hint)
    return any_of_it


def arbitrary(struct: type[S], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[S]:
    """One of these with any fields at all, but for the `chosen` ones."""
    hints = get_type_hints(struct, include_extras=True)
    fields = {name: arbitrary_field(hints[name]) for name in struct.__struct_fields__ if name not in chosen}
    return st.builds(struct, **fields, **chosen)
