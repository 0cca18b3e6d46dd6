-- The audit reads these through cursors in one repeatable-read transaction, so all rows are of one moment.

-- name: checkpoint
SELECT position, event_id::text FROM checkpoint;

-- name: journal
SELECT position, event, recorded_at, community, previous, name, event_id::text FROM journal ORDER BY position;

-- name: postings
SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after, happened_at,
       rule, gathering::text
FROM posting ORDER BY position, leg;

-- name: balances
SELECT community, member, main, stake, disputed, given, received, recent_given::text, recent_received::text,
       settled, kept, broken, postings, first
FROM balance;

-- name: wrong_folios
-- A folio ends with the entry in which the number of the member's postings reaches a multiple of $1. The next folio
-- begins there.
WITH numbered AS (
    SELECT community, member, position, row_number() OVER (PARTITION BY community, member ORDER BY position, leg) AS nth
    FROM posting JOIN (
        SELECT community, member FROM posting GROUP BY community, member HAVING count(*) >= $1::bigint
    ) busy USING (community, member)
), expected AS (
    SELECT community, member, (nth / $1::bigint)::integer AS number,
           lag(position, 1, 0::bigint) OVER (PARTITION BY community, member ORDER BY nth) AS after, position AS until
    FROM numbered WHERE nth % $1::bigint = 0
)
SELECT DISTINCT community, member, number FROM (
    (TABLE expected EXCEPT TABLE folio) UNION ALL (TABLE folio EXCEPT TABLE expected)
) wrong
ORDER BY 1, 2, 3;

-- name: wrong_folio_lines
WITH expected AS (
    SELECT f.community, f.member, f.number AS folio, p.happened_at, p.position, p.leg, p.counterparty,
           coalesce(sum(p.points) FILTER (WHERE p.account = 'main') OVER line, 0)::bigint AS main,
           coalesce(sum(p.points) FILTER (WHERE p.account = 'stake') OVER line, 0)::bigint AS stake,
           coalesce(sum(p.points) FILTER (WHERE p.account = 'disputed') OVER line, 0)::bigint AS disputed,
           sum(p.given) OVER line AS given, sum(p.received) OVER line AS received
    FROM folio f JOIN posting p
    ON p.community = f.community AND p.member = f.member AND p.position > f.after AND p.position <= f.until
    WINDOW line AS (PARTITION BY f.community, f.member, f.number ORDER BY p.happened_at, p.position, p.leg)
)
SELECT DISTINCT community, member, folio FROM (
    (TABLE expected EXCEPT TABLE folio_line) UNION ALL (TABLE folio_line EXCEPT TABLE expected)
) wrong
ORDER BY 1, 2, 3;

-- name: pairs
SELECT community, low, high, low_gave, high_gave, low_helped, high_helped, contacts, one_to_ones FROM pair;

-- name: aggregates
SELECT community, kind, id::text, version, position, began, began_at, state, party_1, party_2, party_3, gathering::text,
       facts
FROM aggregate;

-- name: deadlines
SELECT community, kind, id::text, due_at FROM deadline;

-- name: topics
SELECT community, kind, tag, began FROM topic;

-- name: tags
SELECT community, member, side, tag FROM tag;
