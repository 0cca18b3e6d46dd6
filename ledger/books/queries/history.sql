-- The past: postings that had happened by one time, as far as they were known at another. What was known at a time is
-- everything up to a position. Rows up to a position never change, so these queries return the same whenever they run,
-- and show no position of their own. Postings are in the order of time, position and leg; a place in it is all three.

-- name: position_at (with position)
-- The last position that was recorded by $1, or 0. It need not have the latest time: the clock of a log's new leader
-- may be behind that of the last one, by at most $2. So the query takes the last position among all that were recorded
-- up to $2 before the latest time, from the index alone. A later $1 never returns less. OFFSET 0 keeps the planner from
-- scanning all positions from the end.
SELECT coalesce(max(position), 0) AS position FROM (
    SELECT position FROM journal
    WHERE recorded_at <= $1 AND recorded_at >= (
        SELECT recorded_at FROM journal WHERE recorded_at <= $1 ORDER BY recorded_at DESC LIMIT 1
    ) - $2::interval
    OFFSET 0
) recent;

-- name: member_sums
-- Sums of the member $2, up to position $3, before each of the places $4 to $6. A sum consists of the last line before
-- the place in every folio that was full at position $3, and of the postings after the last of these folios. OFFSET 0
-- keeps the planner from scanning the whole history for the postings. The folio in the ORDER BY of the line keeps it
-- from scanning all folios for the line.
WITH since AS (
    SELECT happened_at, position, leg, account, counterparty, points, given, received FROM posting
    WHERE community = $1 AND member = $2 AND position <= $3 AND position > coalesce((
        SELECT until FROM folio WHERE community = $1 AND member = $2 AND until <= $3 ORDER BY number DESC LIMIT 1
    ), 0)
    OFFSET 0
)
SELECT s.*
FROM unnest($4::timestamptz[], $5::bigint[], $6::smallint[]) WITH ORDINALITY AS place (happened_at, position, leg, nth)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(main), 0)::bigint AS main, coalesce(sum(stake), 0)::bigint AS stake,
           coalesce(sum(disputed), 0)::bigint AS disputed,
           coalesce(sum(given), 0)::bigint AS given, coalesce(sum(received), 0)::bigint AS received
    FROM (
        SELECT main, stake, disputed, given, received FROM folio f CROSS JOIN LATERAL (
            SELECT folio, main, stake, disputed, given, received FROM folio_line
            WHERE community = $1 AND member = $2
              AND (folio, happened_at, position, leg) < (f.number, place.happened_at, place.position, place.leg)
            ORDER BY folio DESC, happened_at DESC, position DESC, leg DESC LIMIT 1
        ) line
        WHERE f.community = $1 AND f.member = $2 AND f.until <= $3 AND line.folio = f.number
        UNION ALL
        SELECT CASE account WHEN 'main' THEN points ELSE 0 END, CASE account WHEN 'stake' THEN points ELSE 0 END,
               CASE account WHEN 'disputed' THEN points ELSE 0 END, given, received
        FROM since WHERE (happened_at, position, leg) < (place.happened_at, place.position, place.leg)
    ) parts
) s
ORDER BY place.nth;

-- name: pair_sums
-- The same for postings between $2 and $7. These are few, so they are added one by one.
WITH since AS (
    SELECT happened_at, position, leg, account, counterparty, points, given, received FROM posting
    WHERE community = $1 AND member = $2 AND position <= $3 AND position > coalesce((
        SELECT until FROM folio WHERE community = $1 AND member = $2 ORDER BY number DESC LIMIT 1
    ), 0)
    OFFSET 0
)
SELECT s.*
FROM unnest($4::timestamptz[], $5::bigint[], $6::smallint[]) WITH ORDINALITY AS place (happened_at, position, leg, nth)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(points) FILTER (WHERE account = 'main'), 0)::bigint AS main,
           coalesce(sum(points) FILTER (WHERE account = 'stake'), 0)::bigint AS stake,
           coalesce(sum(points) FILTER (WHERE account = 'disputed'), 0)::bigint AS disputed,
           coalesce(sum(given), 0)::bigint AS given, coalesce(sum(received), 0)::bigint AS received
    FROM (
        SELECT p.* FROM folio_line l CROSS JOIN LATERAL (
            SELECT account, points, given, received FROM posting
            WHERE community = $1 AND member = $2 AND position = l.position AND leg = l.leg
            LIMIT 1
        ) p
        WHERE l.community = $1 AND l.member = $2 AND l.counterparty = $7 AND l.position <= $3
          AND (l.happened_at, l.position, l.leg) < (place.happened_at, place.position, place.leg)
        UNION ALL
        SELECT account, points, given, received FROM since
        WHERE counterparty = $7 AND (happened_at, position, leg) < (place.happened_at, place.position, place.leg)
    ) parts
) s
ORDER BY place.nth;

-- name: community_sums
-- Sums of all members, of postings up to position $2 that had happened by $3. This scans all postings of a community,
-- for stewards and auditors.
SELECT count(DISTINCT member) AS members,
       coalesce(sum(points) FILTER (WHERE account = 'main'), 0)::bigint AS main,
       coalesce(sum(points) FILTER (WHERE account = 'stake'), 0)::bigint AS stake,
       coalesce(sum(points) FILTER (WHERE account = 'disputed'), 0)::bigint AS disputed,
       coalesce(sum(given), 0)::bigint AS given, coalesce(sum(received), 0)::bigint AS received
FROM posting WHERE community = $1 AND position <= $2 AND happened_at <= $3;

-- name: member_lines
-- Postings from the place $4 to $6 on, before the place $7 to $9, at most $10. The lines of folios are in this order
-- already; the few postings after the last full folio are sorted. The oldest is first; `newest_first` reverses that.
WITH since AS (
    SELECT happened_at, position, leg, account, counterparty, points, given, received FROM posting
    WHERE community = $1 AND member = $2 AND position <= $3 AND position > coalesce((
        SELECT until FROM folio WHERE community = $1 AND member = $2 ORDER BY number DESC LIMIT 1
    ), 0)
    OFFSET 0
)
SELECT place.*, p.rule, p.account, p.counterparty, p.points, p.given, p.received, j.recorded_at, j.event_id
FROM (
    SELECT * FROM (
        (SELECT happened_at, position, leg FROM folio_line
         WHERE community = $1 AND member = $2 AND position <= $3
           AND (happened_at, position, leg) >= ($4, $5, $6) AND (happened_at, position, leg) < ($7, $8, $9)
         ORDER BY happened_at, position, leg LIMIT $10)
        UNION ALL
        (SELECT happened_at, position, leg FROM since
         WHERE (happened_at, position, leg) >= ($4, $5, $6) AND (happened_at, position, leg) < ($7, $8, $9)
         ORDER BY happened_at, position, leg LIMIT $10)
    ) parts
    ORDER BY happened_at, position, leg LIMIT $10
) place
CROSS JOIN LATERAL (
    SELECT * FROM posting
    WHERE community = $1 AND member = $2 AND position = place.position AND leg = place.leg
    LIMIT 1
) p
JOIN journal j ON j.position = place.position
ORDER BY happened_at, position, leg;

-- name: pair_lines
-- The same for postings with the counterparty $11.
WITH since AS (
    SELECT happened_at, position, leg, account, counterparty, points, given, received FROM posting
    WHERE community = $1 AND member = $2 AND position <= $3 AND position > coalesce((
        SELECT until FROM folio WHERE community = $1 AND member = $2 ORDER BY number DESC LIMIT 1
    ), 0)
    OFFSET 0
)
SELECT place.*, p.rule, p.account, p.counterparty, p.points, p.given, p.received, j.recorded_at, j.event_id
FROM (
    SELECT * FROM (
        (SELECT happened_at, position, leg FROM folio_line
         WHERE community = $1 AND member = $2 AND counterparty = $11 AND position <= $3
           AND (happened_at, position, leg) >= ($4, $5, $6) AND (happened_at, position, leg) < ($7, $8, $9)
         ORDER BY happened_at, position, leg LIMIT $10)
        UNION ALL
        (SELECT happened_at, position, leg FROM since
         WHERE counterparty = $11
           AND (happened_at, position, leg) >= ($4, $5, $6) AND (happened_at, position, leg) < ($7, $8, $9)
         ORDER BY happened_at, position, leg LIMIT $10)
    ) parts
    ORDER BY happened_at, position, leg LIMIT $10
) place
CROSS JOIN LATERAL (
    SELECT * FROM posting
    WHERE community = $1 AND member = $2 AND position = place.position AND leg = place.leg
    LIMIT 1
) p
JOIN journal j ON j.position = place.position
ORDER BY happened_at, position, leg;

-- name: last_position_of_member
-- The position of the member's last posting up to position $3. The member's postings up to both are the same.
SELECT position FROM posting WHERE community = $1 AND member = $2 AND position <= $3
ORDER BY position DESC, leg DESC LIMIT 1;

-- name: balance_parts
-- The parts of a balance by rule, and by counterparty. A NULL counterparty: points between the member's own accounts.
SELECT GROUPING(rule) = 0 AS by_rule, rule, counterparty, count(*) AS postings,
       coalesce(sum(points) FILTER (WHERE account = 'main'), 0)::bigint AS main,
       coalesce(sum(points) FILTER (WHERE account = 'stake'), 0)::bigint AS stake,
       coalesce(sum(points) FILTER (WHERE account = 'disputed'), 0)::bigint AS disputed,
       sum(given)::bigint AS given, sum(received)::bigint AS received
FROM posting
WHERE community = $1 AND member = $2 AND position <= $3 AND happened_at <= $4
GROUP BY GROUPING SETS ((rule), (counterparty));
