-- Questions about members. Only the last rows of a long history are read; the caller limits their number.

-- name: standing (with position)
-- One row, also for a member without a balance. $3 is the id of the membership. $4 is the most that one counterparty
-- counts towards credit: see `standing.earned`. Postings and attendances after $5 count, among the last $6 of each.
SELECT coalesce(b.main + b.stake + b.disputed, 0) AS net,
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
       ) recent WHERE received > 0 AND happened_at > $5) AS received_items,
       done.*
FROM (
    SELECT count(*) AS attended, count(*) FILTER (WHERE state = 'paid') AS dues_paid FROM (
        SELECT state, began_at FROM aggregate
        WHERE community = $1 AND kind = 'attendance' AND party_1 = $2 ORDER BY began DESC LIMIT $6
    ) recent WHERE began_at > $5
) done
LEFT JOIN balance b ON b.community = $1 AND b.member = $2
LEFT JOIN journal seen ON seen.position = b.first
LEFT JOIN aggregate m ON m.community = $1 AND m.kind = 'member' AND m.id = $3;

-- name: ask
-- One row. The member $2 asks the connector $3, whose membership has the id $5, for the target $4. An ask is open while
-- the asker sees it as pending at $6: if a silent decline freed a place, the count would disclose it. Asks after $7
-- count as inbound for the connector.
WITH asked AS (
    SELECT state, party_2, party_3, began_at, facts FROM aggregate
    WHERE community = $1 AND kind = 'intro' AND party_1 = $2 ORDER BY began DESC LIMIT $8
), reached AS (
    SELECT began_at, facts FROM aggregate
    WHERE community = $1 AND kind = 'intro' AND party_2 = $3 ORDER BY began DESC LIMIT $8
)
SELECT (SELECT count(*) FROM asked
        WHERE state IN ('asked', 'accepted', 'consented', 'declined', 'refused', 'expired')
          AND facts ->> 'matchmade' IS NULL AND facts ->> 'tell_now' IS NULL
          AND coalesce(facts ->> 'visible_until', facts ->> 'lapses_at')::timestamptz > $6) AS open_asks,
       (SELECT count(*) FROM reached WHERE facts ->> 'matchmade' IS NULL AND began_at > $7) AS inbound_asks,
       (SELECT max(began_at) FROM asked
        WHERE facts ->> 'matchmade' IS NULL AND party_2 = $3 AND party_3 = $4) AS last_same_ask_at,
       (SELECT facts FROM aggregate WHERE community = $1 AND kind = 'member' AND id = $5) AS connector;

-- name: suggestions
-- What a member could do for others now, at most $3 of each kind and of all: answer an ask, confirm a favour that is
-- claimed, meet a want, or set offers, if the member has none.
(SELECT 1 AS rank, began, 'answer_ask' AS way, id::text, party_1 AS member, NULL AS tag FROM aggregate
 WHERE community = $1 AND kind = 'intro' AND party_2 = $2 AND state = 'asked' ORDER BY began LIMIT $3)
UNION ALL
(SELECT 2, began, 'confirm_favour', id::text, party_1, NULL FROM aggregate
 WHERE community = $1 AND kind = 'favour' AND party_2 = $2 AND state = 'claimed' ORDER BY began LIMIT $3)
UNION ALL
(SELECT 3, 0, 'meet_want', NULL, wanted.member, wanted.tag FROM tag offered
 CROSS JOIN LATERAL (
     SELECT member, tag FROM tag
     WHERE community = $1 AND side = 'want' AND tag = offered.tag AND member <> $2 ORDER BY member LIMIT $3
 ) wanted
 WHERE offered.community = $1 AND offered.member = $2 AND offered.side = 'offer' LIMIT $3)
UNION ALL
(SELECT 4, 0, 'set_offers', NULL, NULL, NULL
 WHERE NOT EXISTS (SELECT FROM tag WHERE community = $1 AND member = $2 AND side = 'offer'))
ORDER BY rank, began, tag, member LIMIT $3;

-- name: asks (with position)
-- The member's last asks, the newest first.
SELECT id::text, began_at, facts FROM aggregate
WHERE community = $1 AND kind = 'intro' AND party_1 = $2 AND facts ->> 'matchmade' IS NULL
ORDER BY began DESC LIMIT $3;

-- name: yield (with position)
SELECT (SELECT coalesce(sum(given), 0)::bigint FROM posting WHERE community = $1 AND gathering = $2) AS points,
       count(*) FILTER (WHERE kind = 'attendance') AS attended,
       count(*) FILTER (WHERE kind = 'attendance' AND state = 'paid') AS paid,
       count(*) FILTER (WHERE kind = 'contact') AS contacts,
       count(*) FILTER (WHERE kind = 'one-to-one' AND state = 'held') AS one_to_ones,
       count(*) FILTER (WHERE kind = 'intro' AND state IN ('made', 'met', 'closed')) AS intros_made,
       count(*) FILTER (WHERE kind = 'referral' AND (
           state IN ('qualified', 'contacted', 'won', 'lost') OR facts ->> 'qualified' = 'true'
       )) AS referrals_qualified,
       count(*) FILTER (WHERE kind = 'referral' AND state = 'won') AS referrals_won
FROM aggregate WHERE community = $1 AND gathering = $2;

-- name: matches (with position)
-- Members who offer what $2 wants, the nearest first. Distance 1: $2 knows them. Distance 2: an acquaintance of $2
-- knows them, and the connector is the acquaintance with whom $2 has exchanged the most points. Distance 3: all others.
-- Limits: $3 acquaintances, $6 acquaintances of each of these, $4 others for each tag, $5 matches.
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
SELECT member, distance, connector, tags FROM nearest ORDER BY distance, cardinality(tags) DESC, member LIMIT $5;
