-- Reading the past, lists and the feed
-- depends: 0002_the_whole_domain

-- migrate: apply

DROP VIEW intros, referrals, favours, entry_legs, pair_balances, member_balances;
DROP TABLE posting, journal, balance;
TRUNCATE pair, aggregate, deadline, tag;
UPDATE checkpoint SET position = 0, event_id = NULL;

CREATE TABLE journal (
    position bigint NOT NULL CONSTRAINT one_event_per_position PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    community text NOT NULL,
    previous bigint NOT NULL CONSTRAINT the_previous_came_before CHECK (previous >= 0 AND previous < position),
    name text NOT NULL,
    event_id uuid NOT NULL,
    event json NOT NULL
);
CREATE INDEX events_by_community ON journal (community, position);
CREATE INDEX events_by_time ON journal (recorded_at, position);
CREATE INDEX events_by_id ON journal (event_id);

CREATE TABLE posting (
    position bigint NOT NULL,
    leg smallint NOT NULL,
    community text NOT NULL,
    member text NOT NULL,
    account text NOT NULL CONSTRAINT known_account CHECK (account IN ('main', 'stake', 'disputed')),
    counterparty text,
    points bigint NOT NULL CONSTRAINT points_are_moved CHECK (points <> 0),
    given bigint NOT NULL,
    received bigint NOT NULL,
    balance_after bigint NOT NULL,
    happened_at timestamptz NOT NULL,
    rule text NOT NULL,
    gathering uuid,
    CONSTRAINT one_posting_per_leg PRIMARY KEY (community, member, position, leg)
);
CREATE INDEX postings_by_time ON posting (community, member, happened_at, position, leg);
CREATE INDEX postings_by_pair ON posting (community, member, counterparty, happened_at, position, leg)
    WHERE counterparty IS NOT NULL;
CREATE INDEX postings_by_position ON posting USING brin (position) WITH (pages_per_range = 8);
CREATE INDEX postings_by_gathering ON posting (community, gathering) WHERE gathering IS NOT NULL;

CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON posting
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_entries();
CREATE TRIGGER postings_are_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER the_journal_is_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE balance (
    community text NOT NULL,
    member text NOT NULL,
    main bigint NOT NULL,
    stake bigint NOT NULL CONSTRAINT stake_is_not_negative CHECK (stake >= 0),
    disputed bigint NOT NULL,
    given bigint NOT NULL CONSTRAINT given_is_not_negative CHECK (given >= 0),
    received bigint NOT NULL CONSTRAINT received_is_not_negative CHECK (received >= 0),
    recent_given numeric NOT NULL,
    recent_received numeric NOT NULL,
    settled bigint NOT NULL,
    kept bigint NOT NULL,
    broken bigint NOT NULL,
    postings bigint NOT NULL,
    first bigint NOT NULL,
    CONSTRAINT one_balance_per_member PRIMARY KEY (community, member)
) WITH (fillfactor = 80);

CREATE TABLE folio (
    community text NOT NULL,
    member text NOT NULL,
    number integer NOT NULL,
    after bigint NOT NULL,
    until bigint NOT NULL,
    CONSTRAINT one_folio_per_number PRIMARY KEY (community, member, number),
    CONSTRAINT a_folio_is_not_empty CHECK (after < until)
);
CREATE TABLE folio_line (
    community text NOT NULL,
    member text NOT NULL,
    folio integer NOT NULL,
    happened_at timestamptz NOT NULL,
    position bigint NOT NULL,
    leg smallint NOT NULL,
    main bigint NOT NULL,
    stake bigint NOT NULL,
    disputed bigint NOT NULL,
    given bigint NOT NULL,
    received bigint NOT NULL,
    CONSTRAINT one_line_per_posting PRIMARY KEY (community, member, folio, happened_at, position, leg)
);

CREATE TABLE topic (
    community text NOT NULL,
    kind text NOT NULL,
    tag text NOT NULL,
    began bigint NOT NULL,
    CONSTRAINT one_topic_per_tag PRIMARY KEY (community, kind, tag, began)
);

DROP INDEX intros_by_asker, intros_by_connector, attendances_by_member, aggregates_by_gathering;
CREATE UNIQUE INDEX one_aggregate_per_beginning ON aggregate (community, kind, began);
CREATE INDEX aggregates_by_state ON aggregate (community, kind, state, began);
CREATE INDEX aggregates_by_party_1 ON aggregate (community, kind, party_1, began) WHERE party_1 IS NOT NULL;
CREATE INDEX aggregates_by_party_2 ON aggregate (community, kind, party_2, began) WHERE party_2 IS NOT NULL;
CREATE INDEX aggregates_by_party_3 ON aggregate (community, kind, party_3, began) WHERE party_3 IS NOT NULL;
CREATE INDEX aggregates_by_gathering ON aggregate (community, gathering, kind, began) WHERE gathering IS NOT NULL;

CREATE VIEW member_balances AS
    SELECT community, member, main, stake, disputed, main + stake + disputed AS net, given, received FROM balance;
CREATE VIEW pair_balances AS
    SELECT community, low AS member, high AS counterparty, low_gave AS given, high_gave AS received FROM pair
    UNION ALL
    SELECT community, high, low, high_gave, low_gave FROM pair;
CREATE VIEW entry_legs AS
    SELECT position, leg, community, member, account, counterparty, points, balance_after, happened_at FROM posting;
CREATE VIEW favours AS
    SELECT community, id, version, state, party_1 AS giver, party_2 AS receiver, gathering, began_at, facts
    FROM aggregate WHERE kind = 'favour';
CREATE VIEW referrals AS
    SELECT community, id, version, state, party_1 AS referrer, party_2 AS recipient, gathering, began_at, facts
    FROM aggregate WHERE kind = 'referral';
CREATE VIEW intros AS
    SELECT community, id, version, state, party_1 AS asker, party_2 AS connector, party_3 AS target, gathering, began_at,
        facts
    FROM aggregate WHERE kind = 'intro';

-- migrate: rollback
