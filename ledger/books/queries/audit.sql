-- Read through cursors, in one repeatable-read transaction: the books as of one moment.

-- name: checkpoint
SELECT position FROM checkpoint;

-- name: journal
SELECT position, event FROM journal ORDER BY position;

-- name: postings
SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after
FROM posting ORDER BY position, leg;

-- name: balances
SELECT community, member, main, stake, given, received FROM balance;

-- name: pairs
SELECT community, member, other, given, received FROM pair;

-- name: favours
SELECT community, id::text, version, position, state, facts FROM favour;

-- name: referrals
SELECT community, id::text, version, position, state, facts FROM referral;

-- name: intros
SELECT community, id::text, version, position, state, facts FROM intro;
