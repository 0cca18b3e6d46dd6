-- Read through cursors, in one repeatable-read transaction: the books as of one moment.

-- name: checkpoint
SELECT position, event_id::text FROM checkpoint;

-- name: journal
SELECT position, recorded_at, event FROM journal ORDER BY position;

-- name: postings
SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after, happened_at,
       gathering::text
FROM posting ORDER BY position, leg;

-- name: balances
SELECT community, member, main, stake, disputed, given, received, recent_given::text, recent_received::text,
       settled, kept, broken, first, last
FROM balance;

-- name: pairs
SELECT community, low, high, low_gave, high_gave, low_helped, high_helped, contacts, one_to_ones FROM pair;

-- name: aggregates
SELECT community, kind, id::text, version, position, began, began_at, state, party_1, party_2, party_3, gathering::text,
       facts
FROM aggregate;

-- name: deadlines
SELECT community, kind, id::text, due_at FROM deadline;

-- name: tags
SELECT community, member, side, tag FROM tag;
