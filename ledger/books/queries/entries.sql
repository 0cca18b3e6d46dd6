-- Explanations of one entry. `legs` and `aggregate_events` are limited by the position that the answer shows.

-- name: entry (with position)
SELECT position, recorded_at, event FROM journal WHERE event_id = $2 AND community = $1 ORDER BY position LIMIT 1;

-- name: legs
-- The entry at position $3 has legs of the members $2 only.
SELECT member, account, counterparty, points, given, received, balance_after FROM posting
WHERE community = $1 AND member = ANY($2::text[]) AND position = $3
ORDER BY leg;

-- name: aggregate_events
-- The last $5 events of an aggregate up to position $4, the newest first. Each event names the previous one.
WITH RECURSIVE found AS (
    SELECT j.position, j.previous, j.recorded_at, j.name, j.event, 1 AS nth
    FROM aggregate a JOIN journal j ON j.position = a.position
    WHERE a.community = $1 AND a.kind = $2 AND a.id = $3
    UNION ALL
    SELECT j.position, j.previous, j.recorded_at, j.name, j.event, f.nth + 1
    FROM found f JOIN journal j ON j.position = f.previous
    WHERE f.nth < $5
)
SELECT position, recorded_at, name, event FROM found WHERE position <= $4 ORDER BY position DESC;
