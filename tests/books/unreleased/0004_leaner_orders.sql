-- Fewer indexes
-- depends: 0003_reading

-- migrate: apply

ALTER TABLE posting DISABLE TRIGGER USER;
ALTER TABLE journal DISABLE TRIGGER USER;
TRUNCATE journal, posting, balance, pair, aggregate, deadline, tag, topic, folio;
ALTER TABLE posting ENABLE TRIGGER USER;
ALTER TABLE journal ENABLE TRIGGER USER;
UPDATE checkpoint SET position = 0, event_id = NULL;

DROP INDEX postings_by_time, postings_by_pair;
ALTER TABLE posting
    DROP CONSTRAINT one_posting_per_leg,
    ADD CONSTRAINT one_posting_per_leg PRIMARY KEY (member, community, position, leg);

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
