-- These queries run before the schema exists, or has the shape of this version. None of them may depend on it.

-- name: lock_migrations
-- Only one process migrates at a time. The lock ends with the connection.
SELECT pg_advisory_lock(7105214309);

-- name: has_checkpoint
SELECT to_regclass(quote_ident($1) || '.checkpoint') IS NOT NULL;

-- name: drop_unreleased_books
-- Everything that one of the unreleased migrations made. The schema itself stays, with the rights on it and whatever
-- else is in it. There is no CASCADE: a report that depends on a view makes this fail, and must be dropped by its
-- owner.
DROP VIEW IF EXISTS member_balances, pair_balances, entry_legs, favours, referrals, intros;
DROP TABLE IF EXISTS checkpoint, journal, posting, folio, folio_line, balance, pair, aggregate, deadline, tag, topic,
    favour, referral, intro;
DROP FUNCTION IF EXISTS refuse_unbalanced_entries, refuse_change;
