-- What the books say about people. Every query begins at the checkpoint: one statement is one snapshot. Where a
-- history may be long, the last entries of it are looked at, and how many is said by the caller.

-- name: standing
-- $3 is the member's membership; $4 is what one counterparty counts at most towards credit, see `standing.earned`; of
-- the last $6 postings and attendances, those count that happened after $5.
SELECT c.position,
       coalesce(b.main + b.stake + b.disputed, 0) AS net,
       coalesce(b.given, 0) AS given, coalesce(b.received, 0) AS received,
       coalesce(b.recent_given, 0)::text AS recent_given, coalesce(b.recent_received, 0)::text AS recent_received,
       coalesce(b.settled, 0) AS settled, coalesce(b.kept, 0) AS kept, coalesce(b.broken, 0) AS broken,
       seen.recorded_at AS first_at,
       m.facts AS membership,
       (SELECT coalesce(sum(least(gave, $4::bigint)), 0)::bigint FROM (
           SELECT low_gave AS gave FROM pair WHERE community = $1 AND low = $2
           UNION ALL
           SELECT high_gave FROM pair WHERE community = $1 AND high = $2
       ) p) AS earned,
       (SELECT count(*) FROM (
           SELECT happened_at, received FROM posting WHERE community = $1 AND member = $2
           ORDER BY position DESC, leg DESC LIMIT $6
       ) lately WHERE received > 0 AND happened_at > $5) AS received_items,
       done.*
FROM checkpoint c
CROSS JOIN LATERAL (
    SELECT count(*) AS attended, count(*) FILTER (WHERE state = 'paid') AS dues_paid FROM (
        SELECT state, began_at FROM aggregate
        WHERE community = $1 AND kind = 'attendance' AND party_1 = $2 ORDER BY began DESC LIMIT $6
    ) lately WHERE began_at > $5
) done
LEFT JOIN balance b ON b.community = $1 AND b.member = $2
LEFT JOIN journal seen ON seen.position = b.first
LEFT JOIN aggregate m ON m.community = $1 AND m.kind = 'member' AND m.id = $3;

-- name: ask
-- $2 asks $3, whose membership is $5, for $4. Open is what the asker sees as pending at $6: were a silent decline to
-- free a place, the count would tell of it. Asks reached the connector within the time since $7.
WITH asked AS (
    SELECT state, party_2, party_3, began_at, facts FROM aggregate
    WHERE community = $1 AND kind = 'intro' AND party_1 = $2 ORDER BY began DESC LIMIT $8
), reached AS (
    SELECT began_at, facts FROM aggregate
    WHERE community = $1 AND kind = 'intro' AND party_2 = $3 ORDER BY began DESC LIMIT $8
)
SELECT c.position,
       (SELECT count(*) FROM asked
        WHERE state IN ('asked', 'accepted', 'consented', 'declined', 'refused', 'expired')
          AND facts ->> 'matchmade' IS NULL AND facts ->> 'tell_now' IS NULL
          AND coalesce(facts ->> 'visible_until', facts ->> 'lapses_at')::timestamptz > $6) AS open_asks,
       (SELECT count(*) FROM reached WHERE facts ->> 'matchmade' IS NULL AND began_at > $7) AS inbound_asks,
       (SELECT max(began_at) FROM asked
        WHERE facts ->> 'matchmade' IS NULL AND party_2 = $3 AND party_3 = $4) AS last_same_ask_at,
       m.facts AS connector
FROM checkpoint c LEFT JOIN aggregate m ON m.community = $1 AND m.kind = 'member' AND m.id = $5;

-- name: ways
-- What a member could give now: an answer to an ask, a thank-you that somebody waits for, something that is wanted.
SELECT c.position, w.way, w.id::text, w.member, w.tag,
       EXISTS (SELECT FROM tag WHERE community = $1 AND member = $2 AND side = 'offer') AS offers
FROM checkpoint c
LEFT JOIN LATERAL (
    (SELECT 1 AS rank, 'answer_ask' AS way, id, party_1 AS member, NULL AS tag FROM aggregate
     WHERE community = $1 AND kind = 'intro' AND party_2 = $2 AND state = 'asked' ORDER BY began LIMIT $3)
    UNION ALL
    (SELECT 2, 'confirm_favour', id, party_1, NULL FROM aggregate
     WHERE community = $1 AND kind = 'favour' AND party_2 = $2 AND state = 'claimed' ORDER BY began LIMIT $3)
    UNION ALL
    (SELECT 3, 'meet_want', NULL, wanted.member, wanted.tag FROM tag offered
     CROSS JOIN LATERAL (
         SELECT member, tag FROM tag
         WHERE community = $1 AND side = 'want' AND tag = offered.tag AND member <> $2 ORDER BY member LIMIT $3
     ) wanted
     WHERE offered.community = $1 AND offered.member = $2 AND offered.side = 'offer' LIMIT $3)
    ORDER BY rank LIMIT $3
) w ON true;

-- name: asks
-- The member's last asks, newest first.
SELECT c.position, a.id::text, a.began_at, a.facts
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT id, began, began_at, facts FROM aggregate
    WHERE community = $1 AND kind = 'intro' AND party_1 = $2 AND facts ->> 'matchmade' IS NULL
    ORDER BY began DESC LIMIT $3
) a ON true
ORDER BY a.began DESC;

-- name: yield
SELECT c.position,
       (SELECT coalesce(sum(given), 0)::bigint FROM posting WHERE community = $1 AND gathering = $2) AS points,
       n.*
FROM checkpoint c CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE kind = 'attendance') AS attended,
           count(*) FILTER (WHERE kind = 'attendance' AND state = 'paid') AS paid,
           count(*) FILTER (WHERE kind = 'contact') AS contacts,
           count(*) FILTER (WHERE kind = 'one-to-one' AND state = 'held') AS one_to_ones,
           count(*) FILTER (WHERE kind = 'intro' AND state IN ('made', 'met', 'closed')) AS intros_made,
           count(*) FILTER (WHERE kind = 'referral' AND (
               state IN ('qualified', 'contacted', 'won', 'lost') OR facts ->> 'qualified' = 'true'
           )) AS referrals_qualified,
           count(*) FILTER (WHERE kind = 'referral' AND state = 'won') AS referrals_won
    FROM aggregate WHERE community = $1 AND gathering = $2
) n;

-- name: matches
-- Who offers what $2 wants, nearest first: 1 known to me, 2 known to someone I know (the one with whom I am closest in
-- points is named), 3 others. Of acquaintances $3 are looked at, of each one's own $6, and of the others $4 for each tag.
WITH wanted AS MATERIALIZED (
    SELECT tag FROM tag WHERE community = $1 AND member = $2 AND side = 'want'
), mine AS MATERIALIZED (
    SELECT member, sum(points) AS points FROM (
        (SELECT high AS member, low_gave + high_gave AS points FROM pair
         WHERE community = $1 AND low = $2 AND (contacts > 0 OR one_to_ones > 0 OR low_helped > 0 OR high_helped > 0)
         LIMIT $3)
        UNION ALL
        (SELECT low, low_gave + high_gave FROM pair
         WHERE community = $1 AND high = $2 AND (contacts > 0 OR one_to_ones > 0 OR low_helped > 0 OR high_helped > 0)
         LIMIT $3)
    ) known GROUP BY member ORDER BY points DESC, member LIMIT $3
), theirs AS MATERIALIZED (
    SELECT DISTINCT ON (member) member, connector FROM (
        SELECT t.member, m.member AS connector, m.points FROM mine m CROSS JOIN LATERAL (
            (SELECT high AS member FROM pair
             WHERE community = $1 AND low = m.member
               AND (contacts > 0 OR one_to_ones > 0 OR low_helped > 0 OR high_helped > 0)
             LIMIT $6)
            UNION ALL
            (SELECT low FROM pair
             WHERE community = $1 AND high = m.member
               AND (contacts > 0 OR one_to_ones > 0 OR low_helped > 0 OR high_helped > 0)
             LIMIT $6)
        ) t
    ) found
    WHERE member <> $2 AND member NOT IN (SELECT member FROM mine)
    ORDER BY member, points DESC, connector
), offering AS (
    SELECT 1 AS distance, m.member, NULL AS connector, o.tag
    FROM mine m JOIN tag o ON o.community = $1 AND o.member = m.member AND o.side = 'offer' JOIN wanted USING (tag)
    UNION ALL
    SELECT 2, t.member, t.connector, o.tag
    FROM theirs t JOIN tag o ON o.community = $1 AND o.member = t.member AND o.side = 'offer' JOIN wanted USING (tag)
    UNION ALL
    SELECT 3, o.member, NULL, o.tag
    FROM wanted CROSS JOIN LATERAL (
        SELECT member, tag FROM tag
        WHERE community = $1 AND side = 'offer' AND tag = wanted.tag AND member <> $2 ORDER BY member LIMIT $4
    ) o
), nearest AS (
    SELECT member, min(distance) AS distance, min(connector) AS connector, array_agg(DISTINCT tag ORDER BY tag) AS tags
    FROM offering GROUP BY member
)
SELECT c.position, n.member, n.distance, n.connector, n.tags
FROM checkpoint c
LEFT JOIN LATERAL (
    SELECT * FROM nearest ORDER BY distance, cardinality(tags) DESC, member LIMIT $5
) n ON true
ORDER BY n.distance, cardinality(n.tags) DESC, n.member;
