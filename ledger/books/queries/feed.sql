-- The journal in the order in which it was committed. Every query carries the position that it shows: one statement is
-- one snapshot, so that nothing is committed later at a position that was passed.

-- name: page
-- What a community ($1) recorded after $2 of these names ($3), at most $4 of them, looking at no more than $5 rows: the
-- last row that may be looked at comes along, whatever its name. The rows are numbered as they are read, so the scan
-- ends with the page. Compared as a pair and not by `community = $1`, the order is that of one index alone: another
-- would read past a million rows of other communities.
SELECT c.position AS shown, j.nth = $5::bigint AS was_last, j.position, j.recorded_at, j.community, j.name, j.event
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT nth, position, recorded_at, community, name, event FROM (
        SELECT position, recorded_at, community, name, event, row_number() OVER (ORDER BY community, position) AS nth
        FROM journal
        WHERE (community, position) > ($1::text, $2::bigint) AND community <= $1::text
        ORDER BY community, position LIMIT $5::bigint
    ) looked
    WHERE name = ANY ($3::text[]) OR nth = $5::bigint
    ORDER BY community, position LIMIT $4::bigint
) j ON true
ORDER BY j.position;

-- name: since
-- What these communities ($2) recorded after $1, at most $3 events, and not beyond position $4.
SELECT c.position AS shown, false AS was_last, j.position, j.recorded_at, j.community, j.name, j.event
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT position, recorded_at, community, name, event FROM journal
    WHERE position > $1::bigint AND position <= $4::bigint AND community = ANY ($2::text[])
    ORDER BY position LIMIT $3::bigint
) j ON true
ORDER BY j.position;
