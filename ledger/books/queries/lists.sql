-- Lists of one kind in the order in which its aggregates began. There is one query for each index in that order. All
-- share these arguments:
--   $1 community, $2 kind, $3 and $4 exclusive bounds of the position `began`, $5 earliest `began_at`, $6 limit.
-- The filters follow from $7 on; NULL means no filter. The order here is the oldest first; `newest_first` reverses it.
-- Two hints for the planner:
--   Both bounds on `began` are always given. Between two unknown bounds the planner expects few rows, and reads along
--   the index instead of sorting.
--   A member in any role is looked for in an array, where the planner expects that nearly all rows match.

-- name: everything (with position)
SELECT id, version, position, began, facts FROM aggregate
WHERE community = $1 AND kind = $2 AND began > $3 AND began < $4 AND began_at >= $5
ORDER BY began LIMIT $6;

-- name: by_state (with position)
SELECT id, version, position, began, facts FROM aggregate
WHERE community = $1 AND kind = $2 AND state = $7 AND began > $3 AND began < $4 AND began_at >= $5
ORDER BY began LIMIT $6;

-- name: by_topic (with position)
-- A topic leads to the one aggregate that began there. LIMIT 1 keeps the planner from joining with all aggregates.
SELECT a.id, a.version, a.position, t.began, a.facts
FROM topic t
CROSS JOIN LATERAL (
    SELECT id, version, position, facts FROM aggregate
    WHERE community = $1 AND kind = $2 AND began = t.began AND began_at >= $5 AND ($8::text IS NULL OR state = $8)
    LIMIT 1
) a
WHERE t.community = $1 AND t.kind = $2 AND t.tag = $7 AND t.began > $3 AND t.began < $4
ORDER BY began LIMIT $6;

-- name: by_gathering (with position)
-- $10 to $12: the member in the roles of the filter, NULL in the other roles. $13: a member in any role.
SELECT id, version, position, began, facts FROM aggregate a
WHERE community = $1 AND kind = $2 AND gathering = $7 AND began > $3 AND began < $4 AND began_at >= $5
  AND ($8::text IS NULL OR state = $8)
  AND ($9::text IS NULL OR EXISTS (
      SELECT FROM topic WHERE community = $1 AND kind = $2 AND tag = $9 AND began = a.began
  ))
  AND (coalesce($10::text, $11::text, $12::text) IS NULL OR party_1 = $10 OR party_2 = $11 OR party_3 = $12)
  AND ($13::text IS NULL OR array_position(ARRAY[party_1, party_2, party_3], $13) IS NOT NULL)
ORDER BY began LIMIT $6;

-- name: by_member (with position)
-- $7 to $9: the member in the roles of the filter, NULL in the other roles. $12: a member in any role.
-- The first rows of three indexes are merged. An aggregate that has the member in two roles is found once.
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
ORDER BY began LIMIT $6;

-- name: by_tag (with position)
-- Members by a tag that they want or offer now. The index has them in the order of their names, so only this list is
-- sorted as a whole. It is as long as the number of members with the tag.
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
ORDER BY began LIMIT $6;

-- name: recorded_before
-- The last position that was recorded before $1. No row, if there is none.
SELECT position FROM journal WHERE recorded_at < $1 ORDER BY recorded_at DESC, position DESC LIMIT 1;
