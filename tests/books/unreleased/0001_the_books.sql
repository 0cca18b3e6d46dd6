-- The first tables: one for each kind of aggregate
-- depends:

-- migrate: apply

CREATE TABLE checkpoint (
    one boolean DEFAULT true NOT NULL CONSTRAINT one_checkpoint PRIMARY KEY CONSTRAINT only_one CHECK (one),
    position bigint NOT NULL CONSTRAINT position_is_not_negative CHECK (position >= 0),
    event_id uuid,
    CONSTRAINT an_event_at_every_position_but_zero CHECK ((position = 0) = (event_id IS NULL))
);

INSERT INTO checkpoint (position) VALUES (0);

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
    account text NOT NULL CONSTRAINT known_account CHECK (account IN ('main', 'stake')),
    counterparty text,
    points bigint NOT NULL CONSTRAINT points_are_moved CHECK (points <> 0),
    given bigint NOT NULL,
    received bigint NOT NULL,
    balance_after bigint NOT NULL,
    CONSTRAINT one_posting_per_leg PRIMARY KEY (position, leg)
);

CREATE FUNCTION refuse_unbalanced_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit bigint;
BEGIN
    SELECT position INTO culprit FROM written GROUP BY position HAVING sum(points) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entry at position % does not sum to zero', culprit
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_sum_to_zero';
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON posting
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_entries();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is never edited or deleted', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END;
$$;

CREATE TRIGGER postings_are_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER the_journal_is_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE balance (
    community text NOT NULL,
    member text NOT NULL,
    main bigint NOT NULL,
    stake bigint NOT NULL CONSTRAINT stake_is_not_negative CHECK (stake >= 0),
    given bigint NOT NULL CONSTRAINT given_is_not_negative CHECK (given >= 0),
    received bigint NOT NULL CONSTRAINT received_is_not_negative CHECK (received >= 0),
    CONSTRAINT one_balance_per_member PRIMARY KEY (community, member)
) WITH (fillfactor = 80);

CREATE TABLE pair (
    community text NOT NULL,
    member text NOT NULL,
    other text NOT NULL,
    given bigint NOT NULL,
    received bigint NOT NULL,
    CONSTRAINT one_row_per_pair PRIMARY KEY (community, member, other)
) WITH (fillfactor = 80);

CREATE TABLE favour (
    community text NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    giver text NOT NULL,
    receiver text NOT NULL,
    facts json NOT NULL,
    CONSTRAINT one_favour_per_id PRIMARY KEY (community, id)
) WITH (fillfactor = 90);

CREATE TABLE referral (
    community text NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    referrer text NOT NULL,
    recipient text NOT NULL,
    facts json NOT NULL,
    CONSTRAINT one_referral_per_id PRIMARY KEY (community, id)
) WITH (fillfactor = 90);

CREATE TABLE intro (
    community text NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    asker text NOT NULL,
    connector text NOT NULL,
    target text NOT NULL,
    facts json NOT NULL,
    CONSTRAINT one_intro_per_id PRIMARY KEY (community, id)
) WITH (fillfactor = 90);

CREATE VIEW member_balances AS
    SELECT community, member, main, stake, main + stake AS net, given, received FROM balance;
CREATE VIEW pair_balances AS
    SELECT community, member, other AS counterparty, given, received FROM pair;
CREATE VIEW entry_legs AS
    SELECT position, leg, community, member, account, counterparty, points, balance_after FROM posting;

-- migrate: rollback
