"""How Postgres goes about a query: the plan, and what in it grows with the books."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import asyncpg
import msgspec

SMALL: Final = frozenset({"checkpoint"})  # Tables of one row: they are best read whole.
SORTS: Final = frozenset({"Sort", "Incremental Sort"})

# One statement for all arguments: a plan takes less time than the round trips would.
LITERALS: Final = """
    SELECT coalesce(string_agg(quote_nullable(argument), ', ' ORDER BY place), '')
    FROM unnest($1::text[]) WITH ORDINALITY AS given (argument, place)
"""

Values = Literal["known", "unknown"]
"""A statement is planned for the values it is given, or, by a connection that has often met it, for any at all."""


class Plan:
    """A plan, as EXPLAIN tells it."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.node: Final = node

    @property
    def below(self) -> list["Plan"]:
        return [Plan(node) for node in self.node.get("Plans", ())]

    def nodes(self) -> Iterator["Plan"]:
        yield self
        for plan in self.below:
            yield from plan.nodes()

    @property
    def kind(self) -> str:
        kind: str = self.node["Node Type"]
        return kind

    @property
    def indexes(self) -> set[str]:
        """All that are read."""
        return {plan.node["Index Name"] for plan in self.nodes() if "Index Name" in plan.node}

    @property
    def read_whole(self) -> set[str]:
        """The tables of which every row is read."""
        return {
            plan.node["Relation Name"]
            for plan in self.nodes()
            if plan.kind == "Seq Scan" and plan.node["Relation Name"] not in SMALL
        }

    @property
    def sorted_whole(self) -> list[str]:
        """What is sorted without having been limited before: by what each of these sorts goes."""
        return [
            ", ".join(plan.node["Sort Key"])
            for plan in self.nodes()
            if plan.kind in SORTS and any(part.unlimited for part in plan.below)
        ]

    @property
    def bitmaps(self) -> set[str]:
        """Indexes of which everything that matches is read before the first row comes out."""
        return {plan.node["Index Name"] for plan in self.nodes() if plan.kind == "Bitmap Index Scan"}

    @property
    def unlimited(self) -> bool:
        """Whether it may yield as many rows as there are."""
        if self.kind == "Limit":
            return False
        if self.below:
            return any(part.unlimited for part in self.below)
        return self.node.get("Relation Name", "checkpoint") not in SMALL


async def plan_of(connection: "asyncpg.Connection[Any]", query: str, *arguments: object, values: Values) -> Plan:
    """The plan of a query with these arguments."""
    mode = {"known": "force_custom_plan", "unknown": "force_generic_plan"}[values]
    said = await connection.fetchval(LITERALS, [text_of(it) for it in arguments])
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {query}")
    try:
        told = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{f'({said})' if said else ''}")
    finally:
        await connection.execute("DEALLOCATE explained; RESET plan_cache_mode")
    return planned(told)


def planned(told: str) -> Plan:
    """What EXPLAIN answered in JSON."""
    return Plan(msgspec.json.decode(told)[0]["Plan"])


def text_of(argument: object) -> str | None:
    return None if argument is None else str(argument)
