-- Every query carries the position that it shows: one statement is one snapshot.

-- name: position
SELECT position FROM checkpoint;

-- name: balance
SELECT c.position, coalesce(b.main, 0) AS main, coalesce(b.stake, 0) AS stake,
       coalesce(b.given, 0) AS given, coalesce(b.received, 0) AS received
FROM checkpoint c LEFT JOIN balance b ON b.community = $1 AND b.member = $2;

-- name: balances
SELECT c.position, b.member, b.main, b.stake, b.given, b.received
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT * FROM balance WHERE community = $1 AND member > $2 ORDER BY member LIMIT $3
) b ON true
ORDER BY b.member;

-- name: pair
SELECT c.position, coalesce(p.given, 0) AS given, coalesce(p.received, 0) AS received
FROM checkpoint c LEFT JOIN pair p ON p.community = $1 AND p.member = $2 AND p.other = $3;

-- name: pairs
SELECT c.position, p.other, p.given, p.received
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT * FROM pair WHERE community = $1 AND member = $2 AND other > $3 ORDER BY other LIMIT $4
) p ON true
ORDER BY p.other;

-- name: favour
SELECT c.position AS shown, a.version, a.position, a.facts
FROM checkpoint c LEFT JOIN favour a ON a.community = $1 AND a.id = $2;

-- name: referral
SELECT c.position AS shown, a.version, a.position, a.facts
FROM checkpoint c LEFT JOIN referral a ON a.community = $1 AND a.id = $2;

-- name: intro
SELECT c.position AS shown, a.version, a.position, a.facts
FROM checkpoint c LEFT JOIN intro a ON a.community = $1 AND a.id = $2;

-- name: summary
SELECT c.position,
       coalesce(b.members, 0) AS members, coalesce(b.main, 0) AS main, coalesce(b.stake, 0) AS stake,
       coalesce(b.given, 0) AS given, coalesce(b.received, 0) AS received,
       (SELECT coalesce(json_object_agg(state, n), '{}') FROM
           (SELECT state, count(*) AS n FROM favour WHERE community = $1 GROUP BY state) s) AS favours,
       (SELECT coalesce(json_object_agg(state, n), '{}') FROM
           (SELECT state, count(*) AS n FROM referral WHERE community = $1 GROUP BY state) s) AS referrals,
       (SELECT coalesce(json_object_agg(state, n), '{}') FROM
           (SELECT state, count(*) AS n FROM intro WHERE community = $1 GROUP BY state) s) AS intros
FROM checkpoint c,
    (SELECT count(*) AS members, sum(main)::bigint AS main, sum(stake)::bigint AS stake,
            sum(given)::bigint AS given, sum(received)::bigint AS received
     FROM balance WHERE community = $1) b;
