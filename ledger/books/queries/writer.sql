-- name: checkpoint
SELECT position, event_id FROM checkpoint;

-- name: position
-- From the table, because `provision` also asks books of an earlier version, which have no `answer_position`.
SELECT position FROM checkpoint;

-- name: move_checkpoint
-- Compare and set. A second writer changes nothing, and gets no row; so does this writer if it tries again. Readers
-- that wait for a position are notified when the transaction commits.
UPDATE checkpoint SET position = $2::bigint, event_id = $3::uuid WHERE position = $1::bigint
RETURNING position, pg_notify('ledger_' || current_schema(), position::text);

-- name: try_writer_lock
-- One writer for each schema. The standby tries again and again instead of waiting in the statement: a statement that
-- waits for hours keeps vacuum from removing the rows that die meanwhile.
SELECT pg_try_advisory_lock(hashtext('referral-ledger writer'), hashtext(current_schema()));

-- name: create_staging_tables
-- Rows that change existing rows are copied into these tables first. COPY is the cheapest way into Postgres on both
-- sides.
CREATE TEMP TABLE staged_balance (
    community text, member text, main bigint, stake bigint, disputed bigint, given bigint, received bigint,
    recent_given text, recent_received text, settled bigint, kept bigint, broken bigint, postings bigint, first bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE staged_pair (
    community text, low text, high text, low_gave bigint, high_gave bigint, low_helped bigint, high_helped bigint,
    contacts bigint, one_to_ones bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE staged_aggregate (
    community text, kind text, id uuid, version integer, position bigint, state text, facts json
) ON COMMIT DELETE ROWS;

-- name: analyze_lookup_tables
-- The tables in which the writer and the readers look up rows. New books have no statistics before this.
ANALYZE aggregate, balance, deadline, pair, tag;

-- name: balances_of
SELECT b.community, b.member, b.main, b.stake, b.disputed, b.given, b.received,
       b.recent_given::text, b.recent_received::text, b.settled, b.kept, b.broken, b.postings, b.first
FROM unnest($1::text[], $2::text[]) AS wanted (community, member)
JOIN balance b ON b.community = wanted.community AND b.member = wanted.member;

-- name: aggregates_of
-- No index serves IS NOT DISTINCT FROM, so the lookup is by the id alone. New books have no statistics. Without them,
-- the planner takes any index that begins with two equal columns for as good as the key.
SELECT a.community, a.kind, a.id::text, a.version, a.position, a.facts
FROM unnest($1::text[], $2::text[], $3::uuid[]) AS wanted (community, kind, id)
JOIN aggregate a
ON a.id = wanted.id AND a.kind IS NOT DISTINCT FROM wanted.kind AND a.community IS NOT DISTINCT FROM wanted.community;

-- name: write_balances
-- The batch begins at position $1. A member whose first event is before $1 has a row already. The updates are sorted,
-- so that neighbours in the index change together.
WITH updated AS (
    UPDATE balance b SET
        main = s.main, stake = s.stake, disputed = s.disputed, given = s.given, received = s.received,
        recent_given = s.recent_given::numeric, recent_received = s.recent_received::numeric,
        settled = s.settled, kept = s.kept, broken = s.broken, postings = s.postings
    FROM (SELECT * FROM staged_balance WHERE first < $1 ORDER BY community, member) s
    WHERE b.community = s.community AND b.member = s.member
)
INSERT INTO balance
SELECT community, member, main, stake, disputed, given, received, recent_given::numeric, recent_received::numeric,
       settled, kept, broken, postings, first
FROM staged_balance WHERE first >= $1;

-- name: fill_folios
-- The entry at position $4 filled the folio $3 of the member $2 in the community $1. A batch may fill several folios of
-- one member. A folio contains the postings after the end of the previous folio.
WITH filled AS (
    SELECT f.*, coalesce(
               lag(f.until) OVER (PARTITION BY f.community, f.member ORDER BY f.number), before.until, 0
           ) AS after
    FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) AS f (community, member, number, until)
    LEFT JOIN LATERAL (
        SELECT until FROM folio WHERE community = f.community AND member = f.member ORDER BY number DESC LIMIT 1
    ) before ON true
), opened AS (
    INSERT INTO folio (community, member, number, after, until)
    SELECT community, member, number, after, until FROM filled
)
INSERT INTO folio_line
SELECT f.community, f.member, f.number, p.happened_at, p.position, p.leg, p.counterparty,
       coalesce(sum(p.points) FILTER (WHERE p.account = 'main') OVER line, 0),
       coalesce(sum(p.points) FILTER (WHERE p.account = 'stake') OVER line, 0),
       coalesce(sum(p.points) FILTER (WHERE p.account = 'disputed') OVER line, 0),
       sum(p.given) OVER line, sum(p.received) OVER line
FROM filled f
JOIN posting p ON p.community = f.community AND p.member = f.member AND p.position > f.after AND p.position <= f.until
WINDOW line AS (PARTITION BY f.community, f.member, f.number ORDER BY p.happened_at, p.position, p.leg);

-- name: add_to_pairs
-- MERGE, not ON CONFLICT: ON CONFLICT checks the constraints against the added row instead of the sum, and a reversal
-- adds a negative number.
MERGE INTO pair p
USING (SELECT * FROM staged_pair ORDER BY community, low, high) a
ON p.community = a.community AND p.low = a.low AND p.high = a.high
WHEN MATCHED THEN UPDATE SET
    low_gave = p.low_gave + a.low_gave, high_gave = p.high_gave + a.high_gave,
    low_helped = p.low_helped + a.low_helped, high_helped = p.high_helped + a.high_helped,
    contacts = p.contacts + a.contacts, one_to_ones = p.one_to_ones + a.one_to_ones
WHEN NOT MATCHED THEN INSERT VALUES (
    a.community, a.low, a.high, a.low_gave, a.high_gave, a.low_helped, a.high_helped, a.contacts, a.one_to_ones
);

-- name: update_aggregates
-- The lookup is as in `aggregates_of`. The previous deadlines are deleted.
WITH deleted AS (
    DELETE FROM deadline d USING staged_aggregate s
    WHERE d.community = s.community AND d.kind = s.kind AND d.id = s.id
)
UPDATE aggregate a SET version = s.version, position = s.position, state = s.state, facts = s.facts
FROM staged_aggregate s
WHERE a.id = s.id AND a.kind IS NOT DISTINCT FROM s.kind AND a.community IS NOT DISTINCT FROM s.community;

-- name: delete_tags
DELETE FROM tag t USING unnest($1::text[], $2::text[]) AS gone (community, member)
WHERE t.community = gone.community AND t.member = gone.member;
