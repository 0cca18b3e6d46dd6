"""The plan that Postgres makes for a query, and the steps whose cost grows with the books."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import asyncpg
import msgspec

ONE_ROW_TABLES: Final = frozenset({"checkpoint"})  # A sequential scan is the best way to read them.
SORT_TYPES: Final = frozenset({"Sort", "Incremental Sort"})

# One statement for all arguments. A plan takes less time than one round trip per argument.
LITERALS: Final = """
    SELECT coalesce(string_agg(quote_nullable(argument), ', ' ORDER BY place), '')
    FROM unnest($1::text[]) WITH ORDINALITY AS given (argument, place)
"""

Values = Literal["known", "unknown"]
"""Whether Postgres plans for the given arguments (custom plan) or for any arguments (generic plan).

A connection that executes a prepared statement often changes to the generic plan.
"""


class Plan:
    """One node of a plan as EXPLAIN returns it in JSON, with the nodes below it."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.node: Final = node

    @property
    def children(self) -> list["Plan"]:
        return [Plan(node) for node in self.node.get("Plans", ())]

    def nodes(self) -> Iterator["Plan"]:
        """Yield this node and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.nodes()

    @property
    def node_type(self) -> str:
        node_type: str = self.node["Node Type"]
        return node_type

    @property
    def indexes(self) -> set[str]:
        """Return the names of all indexes that the plan reads."""
        return {plan.node["Index Name"] for plan in self.nodes() if "Index Name" in plan.node}

    @property
    def sequential_scans(self) -> set[str]:
        """Return the tables that the plan reads in full, except tables of one row."""
        return {
            plan.node["Relation Name"]
            for plan in self.nodes()
            if plan.node_type == "Seq Scan" and plan.node["Relation Name"] not in ONE_ROW_TABLES
        }

    @property
    def unlimited_sorts(self) -> list[str]:
        """Return the sort keys of each sort whose input has no limit."""
        return [
            ", ".join(plan.node["Sort Key"])
            for plan in self.nodes()
            if plan.node_type in SORT_TYPES and any(child.is_unlimited for child in plan.children)
        ]

    @property
    def bitmap_scans(self) -> set[str]:
        """Return the indexes whose matches are all read before the first row is returned."""
        return {plan.node["Index Name"] for plan in self.nodes() if plan.node_type == "Bitmap Index Scan"}

    @property
    def is_unlimited(self) -> bool:
        """Return whether this node may return as many rows as a table has."""
        if self.node_type == "Limit":
            return False
        if self.children:
            return any(child.is_unlimited for child in self.children)
        return self.node.get("Relation Name", "checkpoint") not in ONE_ROW_TABLES


async def explain(connection: "asyncpg.Connection[Any]", query: str, *arguments: object, values: Values) -> Plan:
    """Return the plan of a query with these arguments."""
    mode = {"known": "force_custom_plan", "unknown": "force_generic_plan"}[values]
    literals = await connection.fetchval(LITERALS, [text_of(value) for value in arguments])
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {query}")
    try:
        executed = f"EXECUTE explained({literals})" if literals else "EXECUTE explained"
        explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {executed}")
    finally:
        await connection.execute("DEALLOCATE explained; RESET plan_cache_mode")
    return parse_plan(explained)


def parse_plan(explained: str) -> Plan:
    """Parse the JSON that EXPLAIN returned."""
    return Plan(msgspec.json.decode(explained)[0]["Plan"])


def text_of(argument: object) -> str | None:
    return None if argument is None else str(argument)
