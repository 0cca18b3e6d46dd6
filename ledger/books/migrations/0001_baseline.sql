-- The first schema. ledger/books/schema.sql explains the schema as it is now.
-- depends:

-- migrate: apply

CREATE TABLE checkpoint (
    one boolean DEFAULT true NOT NULL
        CONSTRAINT one_checkpoint PRIMARY KEY
        CONSTRAINT only_one_checkpoint CHECK (one),
    position bigint NOT NULL CONSTRAINT position_is_not_negative CHECK (position >= 0),
    event_id uuid,
    CONSTRAINT event_id_except_at_zero CHECK ((position = 0) = (event_id IS NULL))
);

INSERT INTO checkpoint (position) VALUES (0);

CREATE VIEW answer_position AS SELECT position AS shown FROM checkpoint;

CREATE TABLE journal (
    position bigint NOT NULL CONSTRAINT one_event_per_position PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    community text NOT NULL,
    previous bigint NOT NULL
        CONSTRAINT previous_is_before_position CHECK (previous >= 0 AND previous < position),
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
    points bigint NOT NULL CONSTRAINT points_are_not_zero CHECK (points <> 0),
    given bigint NOT NULL,
    received bigint NOT NULL,
    balance_after bigint NOT NULL,
    happened_at timestamptz NOT NULL,
    rule text NOT NULL,
    gathering uuid,
    CONSTRAINT one_posting_per_leg PRIMARY KEY (member, community, position, leg)
);

CREATE INDEX postings_by_position ON posting USING brin (position) WITH (pages_per_range = 8);
CREATE INDEX postings_by_gathering ON posting (community, gathering) WHERE gathering IS NOT NULL;

CREATE FUNCTION refuse_unbalanced_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced bigint;
BEGIN
    SELECT position INTO unbalanced FROM inserted GROUP BY position HAVING sum(points) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entry at position % does not sum to zero', unbalanced
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_sum_to_zero';
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON posting
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_entries();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is never edited or deleted', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END;
$$;

CREATE TRIGGER append_only_journal BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_postings BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

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

CREATE TABLE pair (
    community text NOT NULL,
    low text COLLATE "C" NOT NULL,
    high text COLLATE "C" NOT NULL,
    low_gave bigint NOT NULL,
    high_gave bigint NOT NULL,
    low_helped bigint NOT NULL,
    high_helped bigint NOT NULL,
    contacts bigint NOT NULL,
    one_to_ones bigint NOT NULL,
    CONSTRAINT one_row_per_pair PRIMARY KEY (community, low, high),
    CONSTRAINT low_sorts_before_high CHECK (low < high),
    CONSTRAINT tallies_are_not_negative CHECK (low_gave >= 0 AND high_gave >= 0)
) WITH (fillfactor = 80);

CREATE INDEX pairs_by_high ON pair (community, high, low);

CREATE TABLE aggregate (
    community text NOT NULL,
    kind text NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    began bigint NOT NULL,
    began_at timestamptz NOT NULL,
    state text NOT NULL,
    party_1 text,
    party_2 text,
    party_3 text,
    gathering uuid,
    facts json NOT NULL,
    CONSTRAINT one_aggregate_per_id PRIMARY KEY (id, kind, community)
) WITH (fillfactor = 90);

CREATE UNIQUE INDEX one_aggregate_per_beginning ON aggregate (community, kind, began);
CREATE INDEX aggregates_by_state ON aggregate (community, kind, state, began);
CREATE INDEX aggregates_by_party_1 ON aggregate (community, kind, party_1, began) WHERE party_1 IS NOT NULL;
CREATE INDEX aggregates_by_party_2 ON aggregate (community, kind, party_2, began) WHERE party_2 IS NOT NULL;
CREATE INDEX aggregates_by_party_3 ON aggregate (community, kind, party_3, began) WHERE party_3 IS NOT NULL;
CREATE INDEX aggregates_by_gathering ON aggregate (community, gathering, kind, began) WHERE gathering IS NOT NULL;
CREATE INDEX claims_by_receiver ON aggregate (community, party_2, began) WHERE kind = 'favour' AND state = 'claimed';

CREATE TABLE deadline (
    community text NOT NULL,
    kind text NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    CONSTRAINT one_deadline_per_aggregate PRIMARY KEY (community, kind, id)
);

CREATE INDEX deadlines_by_time ON deadline (due_at);

CREATE TABLE tag (
    community text NOT NULL,
    member text NOT NULL,
    side text NOT NULL CONSTRAINT known_side CHECK (side IN ('want', 'offer')),
    tag text NOT NULL,
    CONSTRAINT one_tag_per_side PRIMARY KEY (community, member, side, tag)
);

CREATE INDEX tags_by_name ON tag (community, side, tag, member);

CREATE TABLE topic (
    community text NOT NULL,
    kind text NOT NULL,
    tag text NOT NULL,
    began bigint NOT NULL,
    CONSTRAINT one_topic_per_tag PRIMARY KEY (community, kind, tag, began)
);

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
    SELECT community, id, version, state, party_1 AS asker, party_2 AS connector, party_3 AS target, gathering,
        began_at, facts
    FROM aggregate WHERE kind = 'intro';

-- migrate: rollback
