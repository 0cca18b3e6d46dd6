"""Large books, made in the database itself: what the writer would have written of as many events, but for their JSON.

For tests of how Postgres goes about a query: its planner is honest only over tables that are large and have statistics.
`LARGE_BOOKS_TIMES=7` in the environment makes them so many times larger: a million entries and more.
"""

import os
from typing import Any, Final

import asyncpg

from ledger.books.fold import FOLIO_LINES
from ledger.books.writer import QUERIES

# Millions take minutes to make, and are read by the same plans as these: with each table in thousands of pages, reading
# all of it or sorting what it holds costs the planner hundreds of times what an index does.
TIMES: Final = int(os.environ.get("LARGE_BOOKS_TIMES", "1"))
THINGS: Final = 200_000 * TIMES
MEMBERS: Final = 2_000
GATHERINGS: Final = 500
ENTRIES: Final = 150_000 * TIMES
LARGE: Final = "acme"  # Nine tenths of the things, and all entries.
SMALL: Final = "bolt"
BUSY: Final = "busy"  # The first party to every fourth thing, and paid by three in four entries: more than 100,000.
SELDOM: Final = "m77"  # Like everybody else, in a hundred things or so.

DRAWN: Final = "abs(hashint8extended(n, {}) >> 1)"  # A number that comes of the position: it is the same every time.
ID: Final = "lpad(to_hex({}), 32, '0')::uuid"
AT: Final = "timestamptz '2020-01-01 00:00Z' + {} * interval '1 minute'"

# One event begins a thing at each position: first the members, then the gatherings, then the other kinds by their
# shares in a hundred.
THINGS_DRAWN: Final = f"""
CREATE TEMP TABLE thing AS
SELECT n AS began, {AT.format("n")} AS began_at, kind, event,
       CASE WHEN n > {MEMBERS + GATHERINGS} AND a % 10 = 0 THEN '{SMALL}' ELSE '{LARGE}' END AS community,
       states[1 + cardinality(states) * (b % 100) * (b % 100) / 10000] AS state,
       CASE WHEN kind = 'member' THEN 'm' || n
            WHEN a % 4 = 1 THEN '{BUSY}' ELSE 'm' || 1 + c % {MEMBERS} END AS party_1,
       CASE WHEN parties > 1 THEN 'm' || 1 + (c + 1 + d % 99) % {MEMBERS} END AS party_2,
       CASE WHEN parties > 2 THEN 'm' || 1 + (c + 100 + d % 99) % {MEMBERS} END AS party_3,
       CASE WHEN gathered AND d % 4 = 0 THEN {MEMBERS} + 1 + b % {GATHERINGS} END AS gathering,
       CASE WHEN tagged THEN ARRAY['tag-' || d % 20, 'tag-' || 20 + (b % 30) * (b % 30)] END AS tags
FROM (
    SELECT n, {DRAWN.format(1)} AS a, {DRAWN.format(2)} AS b, {DRAWN.format(3)} AS c, {DRAWN.format(4)} AS d,
           CASE WHEN n <= {MEMBERS} THEN 100 WHEN n <= {MEMBERS + GATHERINGS} THEN 101
                ELSE {DRAWN.format(5)} % 100 END AS share
    FROM generate_series(1, {THINGS}) n
) hashed
JOIN (VALUES
    (0, 54, 'favour', 'claimed', ARRAY['posted', 'claimed', 'refused', 'lapsed', 'forgiven'], 2, false, true),
    (55, 69, 'referral', 'given', ARRAY['given', 'qualified', 'contacted', 'won', 'lost', 'lapsed'], 2, true, true),
    (70, 84, 'intro', 'asked', ARRAY['asked', 'accepted', 'made', 'closed', 'declined', 'expired'], 3, true, true),
    (85, 85, 'dispute', 'opened', ARRAY['opened', 'upheld', 'rejected'], 3, false, false),
    (86, 90, 'contact', 'made', ARRAY['made'], 2, false, true),
    (91, 95, 'attendance', 'attended', ARRAY['attended', 'paid'], 1, false, true),
    (96, 99, 'one-to-one', 'booked', ARRAY['booked', 'held', 'cancelled'], 2, false, true),
    (100, 100, 'member', 'joined', ARRAY['active', 'paused', 'left'], 1, false, false),
    (101, 101, 'gathering', 'held', ARRAY['held'], 1, false, false)
) AS k (low, high, kind, event, states, parties, tagged, gathered) ON share BETWEEN low AND high
"""
# After them come entries, one event each: favours that were confirmed. They happened up to ten weeks before they were
# recorded, and in another order.
ENTRIES_DRAWN: Final = f"""
CREATE TEMP TABLE entry AS
SELECT n AS position, {AT.format("n")} AS recorded_at,
       {AT.format("n")} - b % 100000 * interval '1 minute' AS happened_at,
       1 + a % {THINGS} AS previous, 60 << (b % 3)::int AS points,
       'm' || 1 + c % {MEMBERS} AS payer,
       CASE WHEN d % 4 > 0 THEN '{BUSY}' ELSE 'm' || 1 + (c + 1 + d % 99) % {MEMBERS} END AS payee,
       CASE WHEN a % 4 = 0 THEN {MEMBERS} + 1 + b % {GATHERINGS} END AS gathering
FROM (
    SELECT n, {DRAWN.format(1)} AS a, {DRAWN.format(2)} AS b, {DRAWN.format(3)} AS c, {DRAWN.format(4)} AS d
    FROM generate_series({THINGS + 1}, {THINGS + ENTRIES}) n
) hashed
"""
JOURNAL: Final = f"""
INSERT INTO journal (position, recorded_at, community, previous, name, event_id, event)
SELECT began, began_at, community, 0, kind || '.' || event, {ID.format("began")}, '{{}}' FROM thing ORDER BY began;
INSERT INTO journal (position, recorded_at, community, previous, name, event_id, event)
SELECT position, recorded_at, '{LARGE}', previous, 'favour.confirmed', {ID.format("position")}, '{{}}'
FROM entry ORDER BY position
"""
AGGREGATES: Final = f"""
INSERT INTO aggregate
    (community, kind, id, version, position, began, began_at, state, party_1, party_2, party_3, gathering, facts)
SELECT community, kind, {ID.format("began")}, 1, began, began, began_at, state, party_1, party_2, party_3,
       {ID.format("gathering")}, ('{{"state":"' || state || '","and so on":"' || repeat('.', 120) || '"}}')::json
FROM thing ORDER BY began
"""
TOPICS: Final = """
INSERT INTO topic (community, kind, tag, began)
SELECT community, kind, tag, began FROM thing CROSS JOIN unnest(tags) tag ORDER BY 1, 2, 3, 4
"""
TAGS: Final = f"""
INSERT INTO tag (community, member, side, tag)
SELECT DISTINCT '{LARGE}', 'm' || n, side, 'tag-' || (n * k) % 50
FROM generate_series(1, {MEMBERS}) n, generate_series(1, 5) k, (VALUES ('want'), ('offer')) AS sides (side)
"""
POSTINGS: Final = f"""
INSERT INTO posting (position, leg, community, member, account, counterparty, points, given, received, balance_after,
                     happened_at, rule, gathering)
SELECT position, leg, '{LARGE}', member, 'main', other, moved, greatest(moved, 0), greatest(-moved, 0),
       sum(moved) OVER (PARTITION BY member ORDER BY position), happened_at, 'favour.confirmed',
       {ID.format("gathering")}
FROM entry CROSS JOIN LATERAL (
    VALUES (0, payer, payee, -points), (1, payee, payer, points)
) AS legs (leg, member, other, moved)
ORDER BY position, leg
"""
BALANCES: Final = """
INSERT INTO balance (community, member, main, stake, disputed, given, received, recent_given, recent_received, settled,
                     kept, broken, postings, first)
SELECT community, member, sum(points), 0, 0, sum(given), sum(received), sum(given), sum(received), count(*), 0, 0,
       count(*), min(position)
FROM posting GROUP BY community, member
"""
FULL: Final = f"""
SELECT array_agg(community), array_agg(member), array_agg(postings / {FOLIO_LINES}), array_agg(position) FROM (
    SELECT community, member, position, row_number() OVER (PARTITION BY community, member ORDER BY position, leg)
    FROM posting
) AS counted (community, member, position, postings) WHERE postings % {FOLIO_LINES} = 0
"""
CHECKPOINT: Final = f"""
UPDATE checkpoint SET position = {THINGS + ENTRIES}, event_id = {ID.format(THINGS + ENTRIES)}
"""
INDEXES: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY ('{journal,aggregate,posting,folio_line}'::regclass[])
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
# ANALYZE reads a random sample of a table, and the planner may choose otherwise after another sample. The sample has
# 300 rows for each unit of a column's statistics target. With the highest target on one column, ANALYZE reads all rows,
# and the statistics are the same each time. No query filters by these columns; the others keep production's target.
WHOLE_SAMPLE: Final = {
    table: f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 10000"
    for table, column in {
        "journal": "event",
        "aggregate": "facts",
        "topic": "community",
        "posting": "rule",
        "folio_line": "stake",
    }.items()
}
FILLED: Final = "journal, aggregate, topic, tag, posting, balance, folio, folio_line, checkpoint"


async def fill(connection: "asyncpg.Connection[Any]") -> None:
    """Fill empty books. Indexes are taken away meanwhile: to make them of everything at once takes half as long."""
    async with connection.transaction():
        await connection.execute("SET LOCAL work_mem = '128MB'; SET LOCAL maintenance_work_mem = '256MB'")
        indexes = await connection.fetch(INDEXES)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for made in (THINGS_DRAWN, ENTRIES_DRAWN, JOURNAL, AGGREGATES, TOPICS, TAGS, POSTINGS, BALANCES, CHECKPOINT):
            await connection.execute(made)
        full = await connection.fetchrow(FULL)
        await connection.execute(QUERIES["fill_folios"], *(full or ()))
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("DROP TABLE thing, entry")
    await connection.execute(";".join(WHOLE_SAMPLE.values()))
    await connection.execute(f"VACUUM (ANALYZE) {FILLED}")
