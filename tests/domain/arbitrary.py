"""Arbitrary events, commands and facts, for promises that hold whatever is said."""

from collections.abc import Mapping
from datetime import timedelta
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Meta, Struct

from ledger.domain.kinds.member import Welcome
from ledger.domain.values.ids import Instant, MemberId, ProspectId, Tag, Tags
from ledger.domain.values.points import Amount
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
    (Tag, st.sampled_from(["law", "tax"])),
    (Tags, st.lists(st.sampled_from(["law", "tax"]), max_size=2, unique=True).map(tuple)),
    (Instant, instants),
    (timedelta, st.timedeltas(timedelta(0), timedelta(days=3_650))),
    (Amount, st.integers(0, MOST_POINTS)),
    (Welcome, st.lists(members, max_size=3, unique=True).map(tuple)),
]


def arbitrary_field(hint: Any) -> st.SearchStrategy[Any]:
    """Anything of this type; an id is one of a few, so that stories meet."""
    for known, strategy in KNOWN:
        if hint == known:
            return strategy
    if NoneType in get_args(hint):
        return st.one_of([st.none() if part is NoneType else arbitrary_field(part) for part in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return arbitrary(hint)
    match get_origin(hint), get_args(hint):
        case origin, (int_type, Meta() as meta) if origin is Annotated and int_type is int:
            return whole_numbers(meta)
        case origin, (of, rest) if origin is tuple and rest is Ellipsis:
            return st.lists(arbitrary_field(of), max_size=3).map(tuple)
        case origin, (key, of) if origin is Mapping:
            return st.fixed_dictionaries({name: arbitrary_field(of) for name in get_args(key)})
        case _:
            return anything(hint)


def whole_numbers(meta: Meta) -> st.SearchStrategy[int]:
    """The numbers that a field of these limits may hold."""
    step = int(meta.multiple_of or 1)
    least, most = int(meta.ge or 0), int(meta.le or MOST_POINTS)
    return st.integers(least // step, most // step).map(lambda count: count * step)


def anything(hint: Any) -> st.SearchStrategy[Any]:
    any_of_it: st.SearchStrategy[Any] = st.from_type(hint)
    return any_of_it


def arbitrary(struct: type[S], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[S]:
    """One of these with any fields at all, but for the `chosen` ones."""
    hints = get_type_hints(struct, include_extras=True)
    fields = {name: arbitrary_field(hints[name]) for name in struct.__struct_fields__ if name not in chosen}
    return st.builds(struct, **fields, **chosen)
