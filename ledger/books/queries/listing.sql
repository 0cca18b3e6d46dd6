-- Lists of one kind in the order in which things began: a query for each index that has them in that order. They share
--   $1 community, $2 kind, $3 and $4 positions between which it began, $5 a time at or after which it began, $6 how many,
-- and from $7 on stands what else must hold, where NULL asks for nothing. As written here the oldest is first; see
-- `newest_first`. There are two bounds on `began` also where one of them says nothing: of what lies between two bounds
-- that it does not know, the planner expects little, and reads along the index instead of sorting. For the same reason,
-- who must be in it besides is looked for in an array, of which it expects that nearly all have them.

-- name: everything
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT id, version, position, began, facts FROM aggregate
    WHERE community = $1 AND kind = $2 AND began > $3 AND began < $4 AND began_at >= $5
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: by_state
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT id, version, position, began, facts FROM aggregate
    WHERE community = $1 AND kind = $2 AND state = $7 AND began > $3 AND began < $4 AND began_at >= $5
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: by_topic
-- A topic leads to the one thing that began there: LIMIT 1 keeps the planner from reading all other things beside them.
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT a.id, a.version, a.position, t.began, a.facts
    FROM topic t
    CROSS JOIN LATERAL (
        SELECT id, version, position, facts FROM aggregate
        WHERE community = $1 AND kind = $2 AND began = t.began AND began_at >= $5 AND ($8::text IS NULL OR state = $8)
        LIMIT 1
    ) a
    WHERE t.community = $1 AND t.kind = $2 AND t.tag = $7 AND t.began > $3 AND t.began < $4
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: by_gathering
-- $10 to $12 are a member in the roles that are asked for, NULL in the others; $13 is one who must be in it, in any.
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT id, version, position, began, facts FROM aggregate a
    WHERE community = $1 AND kind = $2 AND gathering = $7 AND began > $3 AND began < $4 AND began_at >= $5
      AND ($8::text IS NULL OR state = $8)
      AND ($9::text IS NULL OR EXISTS (
          SELECT FROM topic WHERE community = $1 AND kind = $2 AND tag = $9 AND began = a.began
      ))
      AND (coalesce($10::text, $11::text, $12::text) IS NULL OR party_1 = $10 OR party_2 = $11 OR party_3 = $12)
      AND ($13::text IS NULL OR array_position(ARRAY[party_1, party_2, party_3], $13) IS NOT NULL)
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: by_member
-- $7 to $9 are the member in the roles that are asked for, NULL in the others; $12 is one who must be in it, in any.
-- The first of each of three indexes are merged; who is in it twice is found once.
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT * FROM (
        (SELECT id, version, position, began, facts FROM aggregate a
         WHERE community = $1 AND kind = $2 AND party_1 = $7 AND began > $3 AND began < $4 AND began_at >= $5
           AND ($10::text IS NULL OR state = $10)
           AND ($11::text IS NULL OR EXISTS (
               SELECT FROM topic WHERE community = $1 AND kind = $2 AND tag = $11 AND began = a.began
           ))
           AND ($12::text IS NULL OR array_position(ARRAY[party_1, party_2, party_3], $12) IS NOT NULL)
         ORDER BY began LIMIT $6)
        UNION ALL
        (SELECT id, version, position, began, facts FROM aggregate a
         WHERE community = $1 AND kind = $2 AND party_2 = $8 AND began > $3 AND began < $4 AND began_at >= $5
           AND party_1 IS DISTINCT FROM $7
           AND ($10::text IS NULL OR state = $10)
           AND ($11::text IS NULL OR EXISTS (
               SELECT FROM topic WHERE community = $1 AND kind = $2 AND tag = $11 AND began = a.began
           ))
           AND ($12::text IS NULL OR array_position(ARRAY[party_1, party_2, party_3], $12) IS NOT NULL)
         ORDER BY began LIMIT $6)
        UNION ALL
        (SELECT id, version, position, began, facts FROM aggregate a
         WHERE community = $1 AND kind = $2 AND party_3 = $9 AND began > $3 AND began < $4 AND began_at >= $5
           AND party_1 IS DISTINCT FROM $7 AND party_2 IS DISTINCT FROM $8
           AND ($10::text IS NULL OR state = $10)
           AND ($11::text IS NULL OR EXISTS (
               SELECT FROM topic WHERE community = $1 AND kind = $2 AND tag = $11 AND began = a.began
           ))
           AND ($12::text IS NULL OR array_position(ARRAY[party_1, party_2, party_3], $12) IS NOT NULL)
         ORDER BY began LIMIT $6)
    ) merged
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: by_tag
-- Members by what they want or offer now. The index has who says a tag by their names, so this alone is sorted: it is as
-- many as there are people who say the tag.
SELECT c.position AS shown, l.*
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT m.* FROM (
        SELECT member FROM tag WHERE community = $1 AND side = 'want' AND tag = $7
        UNION
        SELECT member FROM tag WHERE community = $1 AND side = 'offer' AND tag = $7
    ) t
    CROSS JOIN LATERAL (
        SELECT id, version, position, began, facts FROM aggregate
        WHERE community = $1 AND kind = $2 AND party_1 = t.member AND began > $3 AND began < $4 AND began_at >= $5
          AND ($8::text IS NULL OR state = $8) AND ($9::text IS NULL OR party_1 = $9)
        LIMIT 1
    ) m
    ORDER BY began LIMIT $6
) l ON true
ORDER BY began;

-- name: recorded_before
-- The last position that was recorded before $1.
SELECT c.position AS shown, coalesce(
    (SELECT position FROM journal WHERE recorded_at < $1 ORDER BY recorded_at DESC, position DESC LIMIT 1), 0
) AS position
FROM checkpoint c;
