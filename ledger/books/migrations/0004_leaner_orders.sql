-- Leaner orders: what every posting and every aggregate costs to keep in order, only those pay who are read by it
-- depends: 0003_reading

-- migrate: apply

-- The books are derived, and change shape here: they are emptied, and the projector derives them anew from the log.
ALTER TABLE posting DISABLE TRIGGER USER;
ALTER TABLE journal DISABLE TRIGGER USER;
TRUNCATE journal, posting, balance, pair, aggregate, deadline, tag, topic, folio;
ALTER TABLE posting ENABLE TRIGGER USER;
ALTER TABLE journal ENABLE TRIGGER USER;
UPDATE checkpoint SET position = 0, event_id = NULL;

-- What tells rows apart comes first in a key, and what nearly all of them share comes after it. A member's postings are
-- in the order in which they were recorded; that in which they happened is the lines' alone.
DROP INDEX postings_by_time, postings_by_pair;
ALTER TABLE posting
    DROP CONSTRAINT one_posting_per_leg,
    ADD CONSTRAINT one_posting_per_leg PRIMARY KEY (member, community, position, leg);

-- A busy member's postings, leaf by leaf: a folio is full once it holds 2,048, and then its lines are set out in the
-- order in which they happened, each with the folio's sums up to it. The lines of all folios together are in that order
-- too, and so are those with one counterparty; the postings since the last full folio are few, and sorted when read.
DROP TABLE folio_line;
CREATE TABLE folio_line (
    community text NOT NULL,
    member text NOT NULL,
    folio integer NOT NULL,
    happened_at timestamptz NOT NULL,
    position bigint NOT NULL,
    leg smallint NOT NULL,
    counterparty text,
    main bigint NOT NULL,
    stake bigint NOT NULL,
    disputed bigint NOT NULL,
    given bigint NOT NULL,
    received bigint NOT NULL,
    CONSTRAINT one_line_per_posting PRIMARY KEY (community, member, folio, happened_at, position, leg)
);
CREATE INDEX lines_by_time ON folio_line (community, member, happened_at, position, leg);
CREATE INDEX lines_by_pair ON folio_line (community, member, counterparty, happened_at, position, leg)
    WHERE counterparty IS NOT NULL;

ALTER TABLE aggregate
    DROP CONSTRAINT one_aggregate_per_id,
    ADD CONSTRAINT one_aggregate_per_id PRIMARY KEY (id, kind, community);

-- migrate: rollback
