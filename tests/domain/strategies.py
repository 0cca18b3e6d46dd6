"""Hypothesis strategies for events, commands and facts of any type."""

from collections.abc import Mapping
from datetime import timedelta
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

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

# A list is searched by equality, because an annotated type need not have a hash.
STRATEGIES: Final[list[tuple[Any, st.SearchStrategy[Any]]]] = [
    (MemberId, members),
    (ProspectId, st.sampled_from(PROSPECTS)),
    (Tag, st.sampled_from(["law", "tax"])),
    (Tags, st.lists(st.sampled_from(["law", "tax"]), max_size=2, unique=True).map(tuple)),
    (Instant, instants),
    (timedelta, st.timedeltas(timedelta(0), timedelta(days=3_650))),
    (Amount, st.integers(0, MOST_POINTS)),
    (Welcome, st.lists(members, max_size=3, unique=True).map(tuple)),
]


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a type. It draws ids from a small set, so that aggregates share their parties."""
    for known, strategy in STRATEGIES:
        if hint == known:
            return strategy
    if NoneType in get_args(hint):
        return st.one_of([st.none() if part is NoneType else values_of(part) for part in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return structs_of(hint)
    match get_origin(hint), get_args(hint):
        case origin, (int_type, Meta() as meta) if origin is Annotated and int_type is int:
            return whole_numbers(meta)
        case origin, (of, rest) if origin is tuple and rest is Ellipsis:
            return st.lists(values_of(of), max_size=3).map(tuple)
        case origin, (key, of) if origin is Mapping:
            return st.fixed_dictionaries({name: values_of(of) for name in get_args(key)})
        case _:
            any_of_it: st.SearchStrategy[Any] = st.from_type(cast("Any", hint))
            return any_of_it


def whole_numbers(meta: Meta) -> st.SearchStrategy[int]:
    """Return a strategy for the numbers that a field with these limits accepts."""
    step = int(meta.multiple_of or 1)
    least, most = int(meta.ge or 0), int(meta.le or MOST_POINTS)
    return st.integers(least // step, most // step).map(lambda count: count * step)


def structs_of(struct: type[S], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[S]:
    """Return a strategy for structs of a type. `chosen` gives a strategy for a field by its name."""
    hints = get_type_hints(struct, include_extras=True)
    fields = {name: values_of(hints[name]) for name in struct.__struct_fields__ if name not in chosen}
    return st.builds(struct, **fields, **chosen)
