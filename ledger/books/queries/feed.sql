-- The journal in the order of the log. The writer commits in that order too, so nothing appears later at a position
-- that a reader has passed.

-- name: page (with position)
-- Events of the community $1 after position $2 with one of the names $3: at most $4 events, among at most $5 rows. The
-- last of the $5 rows is returned whatever its name, so that the reader knows where to go on. Rows are numbered as they
-- are read, so the scan ends with the page. The comparison as a pair, not by `community = $1`, admits one index only:
-- another index would read past a million rows of other communities.
SELECT nth = $5::bigint AS was_last, position, recorded_at, community, name, event FROM (
    SELECT position, recorded_at, community, name, event, row_number() OVER (ORDER BY community, position) AS nth
    FROM journal
    WHERE (community, position) > ($1::text, $2::bigint) AND community <= $1::text
    ORDER BY community, position LIMIT $5::bigint
) scanned
WHERE name = ANY ($3::text[]) OR nth = $5::bigint
ORDER BY community, position LIMIT $4::bigint;

-- name: since (with position)
-- Events of the communities $2 after position $1, up to position $4: at most $3 events.
SELECT false AS was_last, position, recorded_at, community, name, event FROM journal
WHERE position > $1::bigint AND position <= $4::bigint AND community = ANY ($2::text[])
ORDER BY position LIMIT $3::bigint;
