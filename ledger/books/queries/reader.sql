-- name: position
SELECT shown FROM answer_position;

-- name: balance (with position)
SELECT main, stake, disputed, given, received FROM balance WHERE community = $1 AND member = $2;

-- name: balances (with position)
SELECT member, main, stake, disputed, given, received FROM balance
WHERE community = $1 AND member > $2 ORDER BY member LIMIT $3;

-- name: pair (with position)
-- The member $2 asks about $3. The row has the two in the order of their ids.
SELECT CASE WHEN low = $2 THEN low_gave ELSE high_gave END AS given,
       CASE WHEN low = $2 THEN high_gave ELSE low_gave END AS received,
       low_helped > 0 AND high_helped > 0 AS helped_both_ways, contacts > 0 AS contact, one_to_ones > 0 AS one_to_one
FROM pair WHERE community = $1 AND low = least($2 COLLATE "C", $3) AND high = greatest($2 COLLATE "C", $3);

-- name: pairs (with position)
SELECT other, given, received, low_helped > 0 AND high_helped > 0 AS helped_both_ways, contacts > 0 AS contact,
       one_to_ones > 0 AS one_to_one
FROM (
    (SELECT high AS other, low_gave AS given, high_gave AS received, low_helped, high_helped, contacts, one_to_ones
     FROM pair WHERE community = $1 AND low = $2 AND high > $3 ORDER BY high LIMIT $4)
    UNION ALL
    (SELECT low, high_gave, low_gave, low_helped, high_helped, contacts, one_to_ones
     FROM pair WHERE community = $1 AND high = $2 AND low > $3 ORDER BY low LIMIT $4)
) p
ORDER BY other LIMIT $4;

-- name: aggregate (with position)
SELECT version, position, began, facts FROM aggregate WHERE community = $1 AND kind = $2 AND id = $3;

-- name: summary (with position)
SELECT count(*) AS members,
       coalesce(sum(main), 0)::bigint AS main, coalesce(sum(stake), 0)::bigint AS stake,
       coalesce(sum(disputed), 0)::bigint AS disputed,
       coalesce(sum(given), 0)::bigint AS given, coalesce(sum(received), 0)::bigint AS received,
       (SELECT coalesce(json_object_agg(kind, states), '{}') FROM (
           SELECT kind, json_object_agg(state, n) AS states FROM (
               SELECT kind, state, count(*) AS n FROM aggregate WHERE community = $1 GROUP BY kind, state
           ) counted GROUP BY kind
       ) s) AS states
FROM balance WHERE community = $1;

-- name: due (with position)
-- The longest overdue first.
SELECT community, kind, id::text, due_at FROM deadline WHERE due_at <= $1 ORDER BY due_at LIMIT $2;
