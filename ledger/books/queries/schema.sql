-- Asked before the schema is known to be there: none of these may need it.

-- name: one_at_a_time
-- The lock of whoever migrates, for as long as their connection lives.
SELECT pg_advisory_lock(7105214309);

-- name: begun
SELECT to_regclass(quote_ident($1) || '.checkpoint') IS NOT NULL;
