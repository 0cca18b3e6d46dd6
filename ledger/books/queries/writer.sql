-- name: checkpoint
SELECT position, event_id FROM checkpoint;

-- name: position
SELECT position FROM checkpoint;

-- name: move_checkpoint
-- Compare and set: a second writer, or this one twice, moves nothing and is told so.
UPDATE checkpoint SET position = $2::bigint, event_id = $3::uuid WHERE position = $1::bigint RETURNING position;

-- name: try_to_be_the_writer
-- One writer for each schema. Tried again and again rather than waited for: a statement that waits for hours holds
-- back the clean-up of every row that dies meanwhile.
SELECT pg_try_advisory_lock(hashtext('referral-ledger writer'), hashtext(current_schema()));

-- name: balances_of
SELECT b.community, b.member, b.main, b.stake
FROM unnest($1::text[], $2::text[]) AS wanted (community, member)
JOIN balance b ON b.community = wanted.community AND b.member = wanted.member;

-- name: add_up
-- From the postings just written, $1 to $2 being the positions of the batch, to balances and pairs: one statement, so
-- that Postgres works on while the next batch is folded. MERGE and not ON CONFLICT, which holds a table's constraints
-- against what is added and not against the sum: a stake that goes back is below zero.
WITH written AS (
    SELECT community, member, account, counterparty, points, given, received
    FROM posting WHERE position BETWEEN $1 AND $2
), balances AS (
    MERGE INTO balance b
    USING (
        SELECT community, member,
               coalesce(sum(points) FILTER (WHERE account = 'main'), 0)::bigint AS main,
               coalesce(sum(points) FILTER (WHERE account = 'stake'), 0)::bigint AS stake,
               sum(given)::bigint AS given, sum(received)::bigint AS received
        FROM written GROUP BY community, member
    ) a ON b.community = a.community AND b.member = a.member
    WHEN MATCHED THEN UPDATE SET
        main = b.main + a.main, stake = b.stake + a.stake,
        given = b.given + a.given, received = b.received + a.received
    WHEN NOT MATCHED THEN INSERT (community, member, main, stake, given, received)
        VALUES (a.community, a.member, a.main, a.stake, a.given, a.received)
    RETURNING 1
), pairs AS (
    MERGE INTO pair p
    USING (
        SELECT community, member, counterparty, sum(given)::bigint AS given, sum(received)::bigint AS received
        FROM written WHERE counterparty IS NOT NULL AND (given <> 0 OR received <> 0)
        GROUP BY community, member, counterparty
    ) a ON p.community = a.community AND p.member = a.member AND p.other = a.counterparty
    WHEN MATCHED THEN UPDATE SET given = p.given + a.given, received = p.received + a.received
    WHEN NOT MATCHED THEN INSERT (community, member, other, given, received)
        VALUES (a.community, a.member, a.counterparty, a.given, a.received)
    RETURNING 1
)
SELECT (SELECT count(*) FROM balances), (SELECT count(*) FROM pairs);

-- name: favours_of
SELECT a.community, a.id::text, a.version, a.position, a.facts
FROM unnest($1::text[], $2::uuid[]) AS wanted (community, id)
JOIN favour a ON a.community = wanted.community AND a.id = wanted.id;

-- name: referrals_of
SELECT a.community, a.id::text, a.version, a.position, a.facts
FROM unnest($1::text[], $2::uuid[]) AS wanted (community, id)
JOIN referral a ON a.community = wanted.community AND a.id = wanted.id;

-- name: intros_of
SELECT a.community, a.id::text, a.version, a.position, a.facts
FROM unnest($1::text[], $2::uuid[]) AS wanted (community, id)
JOIN intro a ON a.community = wanted.community AND a.id = wanted.id;

-- name: change_favours
UPDATE favour a SET version = c.version, position = c.position, state = c.state, facts = c.facts
FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::json[])
    AS c (community, id, version, position, state, facts)
WHERE a.community = c.community AND a.id = c.id;

-- name: change_referrals
UPDATE referral a SET version = c.version, position = c.position, state = c.state, facts = c.facts
FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::json[])
    AS c (community, id, version, position, state, facts)
WHERE a.community = c.community AND a.id = c.id;

-- name: change_intros
UPDATE intro a SET version = c.version, position = c.position, state = c.state, facts = c.facts
FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::json[])
    AS c (community, id, version, position, state, facts)
WHERE a.community = c.community AND a.id = c.id;

-- name: announce
-- Delivered when the transaction commits: readers that wait for a position wake up.
SELECT pg_notify('ledger_' || current_schema(), $1::text);
