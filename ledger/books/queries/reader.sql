-- Every query carries the position that it shows: one statement is one snapshot.

-- name: position
SELECT position FROM checkpoint;

-- name: balance
SELECT c.position, coalesce(b.main, 0) AS main, coalesce(b.stake, 0) AS stake, coalesce(b.disputed, 0) AS disputed,
       coalesce(b.given, 0) AS given, coalesce(b.received, 0) AS received
FROM checkpoint c LEFT JOIN balance b ON b.community = $1 AND b.member = $2;

-- name: balances
SELECT c.position, b.member, b.main, b.stake, b.disputed, b.given, b.received
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT * FROM balance WHERE community = $1 AND member > $2 ORDER BY member LIMIT $3
) b ON true
ORDER BY b.member;

-- name: pair
-- $2 is the member who asks; the row is kept for the two in the order of their ids.
SELECT c.position,
       coalesce(CASE WHEN p.low = $2 THEN p.low_gave ELSE p.high_gave END, 0) AS given,
       coalesce(CASE WHEN p.low = $2 THEN p.high_gave ELSE p.low_gave END, 0) AS received,
       coalesce(p.low_helped > 0 AND p.high_helped > 0, false) AS helped_both_ways,
       coalesce(p.contacts > 0, false) AS contact, coalesce(p.one_to_ones > 0, false) AS one_to_one
FROM checkpoint c
LEFT JOIN pair p ON p.community = $1 AND p.low = least($2 COLLATE "C", $3) AND p.high = greatest($2 COLLATE "C", $3);

-- name: pairs
SELECT c.position, p.other, p.given, p.received, p.low_helped > 0 AND p.high_helped > 0 AS helped_both_ways,
       p.contacts > 0 AS contact, p.one_to_ones > 0 AS one_to_one
FROM checkpoint c
LEFT JOIN LATERAL (
    (SELECT high AS other, low_gave AS given, high_gave AS received, low_helped, high_helped, contacts, one_to_ones
     FROM pair WHERE community = $1 AND low = $2 AND high > $3 ORDER BY high LIMIT $4)
    UNION ALL
    (SELECT low, high_gave, low_gave, low_helped, high_helped, contacts, one_to_ones
     FROM pair WHERE community = $1 AND high = $2 AND low > $3 ORDER BY low LIMIT $4)
    ORDER BY other LIMIT $4
) p ON true
ORDER BY p.other;

-- name: aggregate
SELECT c.position AS shown, a.version, a.position, a.began, a.facts
FROM checkpoint c LEFT JOIN aggregate a ON a.community = $1 AND a.kind = $2 AND a.id = $3;

-- name: summary
SELECT c.position,
       coalesce(b.members, 0) AS members, coalesce(b.main, 0) AS main, coalesce(b.stake, 0) AS stake,
       coalesce(b.disputed, 0) AS disputed, coalesce(b.given, 0) AS given, coalesce(b.received, 0) AS received,
       (SELECT coalesce(json_object_agg(kind, states), '{}') FROM (
           SELECT kind, json_object_agg(state, n) AS states FROM (
               SELECT kind, state, count(*) AS n FROM aggregate WHERE community = $1 GROUP BY kind, state
           ) counted GROUP BY kind
       ) s) AS states
FROM checkpoint c,
    (SELECT count(*) AS members, sum(main)::bigint AS main, sum(stake)::bigint AS stake,
            sum(disputed)::bigint AS disputed, sum(given)::bigint AS given, sum(received)::bigint AS received
     FROM balance WHERE community = $1) b;

-- name: due
-- The longest overdue first.
SELECT c.position, d.community, d.kind, d.id::text, d.due_at
FROM checkpoint c
LEFT JOIN LATERAL (SELECT * FROM deadline WHERE due_at <= $1 ORDER BY due_at LIMIT $2) d ON true
ORDER BY d.due_at;
