-- Every kind of aggregate in one table
-- depends: 0001_the_books

-- migrate: apply

DROP VIEW entry_legs, pair_balances, member_balances;
DROP TABLE intro, referral, favour, pair, balance, posting, journal;
UPDATE checkpoint SET position = 0, event_id = NULL;

CREATE TABLE journal (
    position bigint NOT NULL CONSTRAINT one_event_per_position PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    event json NOT NULL
);

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
    gathering uuid,
    CONSTRAINT one_posting_per_leg PRIMARY KEY (community, member, position, leg)
);
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
    first bigint NOT NULL,
    last bigint NOT NULL,
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
    CONSTRAINT a_pair_is_two_in_order CHECK (low < high),
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
    CONSTRAINT one_aggregate_per_id PRIMARY KEY (community, kind, id)
) WITH (fillfactor = 90);
CREATE INDEX intros_by_asker ON aggregate (community, party_1, began) WHERE kind = 'intro';
CREATE INDEX intros_by_connector ON aggregate (community, party_2, began) WHERE kind = 'intro';
CREATE INDEX claims_by_receiver ON aggregate (community, party_2, began) WHERE kind = 'favour' AND state = 'claimed';
CREATE INDEX attendances_by_member ON aggregate (community, party_1, began) WHERE kind = 'attendance';
CREATE INDEX aggregates_by_gathering ON aggregate (community, gathering, kind) WHERE gathering IS NOT NULL;

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
