-- The writer runs these on a batch, between the copies of its rows. It creates the staging tables beforehand.

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
-- The lookup is as in `aggregates_of` in writer.sql. The previous deadlines are deleted.
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
