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
