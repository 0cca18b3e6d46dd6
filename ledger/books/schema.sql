-- The schema of the books, as the migrations make it. This file is for reading: `referral-ledger migrate` makes the
-- schema from `migrations/`. A test proves that both are the same, so change both together.
--
-- The log is the truth. The projector derives every row here from it, and can derive it again.
-- A position is the sequence number of an event in the log. Points are whole numbers.


-- Position ------------------------------------------------------------------------------------------------------------

-- The last event that the books contain. The table has one row. The writer moves it by compare-and-set, in the same
-- transaction as the effects of the events.
CREATE TABLE checkpoint (
    one boolean DEFAULT true NOT NULL
        CONSTRAINT one_checkpoint PRIMARY KEY
        CONSTRAINT only_one_checkpoint CHECK (one),
    position bigint NOT NULL CONSTRAINT position_is_not_negative CHECK (position >= 0),  -- 0: the books are empty.
    event_id uuid,  -- The event at this position. The projector compares it with the log before it reads on.
    CONSTRAINT event_id_except_at_zero CHECK ((position = 0) = (event_id IS NULL))
);

INSERT INTO checkpoint (position) VALUES (0);

-- The position that an answer shows. The queries marked `with position` read it in the same statement as their rows.
CREATE VIEW answer_position AS SELECT position AS shown FROM checkpoint;


-- Events --------------------------------------------------------------------------------------------------------------

-- Every event, with its exact bytes. This is a second copy of the log.
CREATE TABLE journal (
    position bigint NOT NULL CONSTRAINT one_event_per_position PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    community text NOT NULL,
    -- The position of the previous event of the same aggregate, or 0. A history is read backwards along it.
    previous bigint NOT NULL
        CONSTRAINT previous_is_before_position CHECK (previous >= 0 AND previous < position),
    name text NOT NULL,  -- For example `favour.thanked`.
    event_id uuid NOT NULL,
    event json NOT NULL  -- `json` keeps the bytes as they are; `jsonb` would not.
);

CREATE INDEX events_by_community ON journal (community, position);  -- For the feed.
CREATE INDEX events_by_time ON journal (recorded_at, position);     -- For `known_at` and `since`.
CREATE INDEX events_by_id ON journal (event_id);                    -- For explanations.


-- Entries -------------------------------------------------------------------------------------------------------------

-- One leg of an entry. The legs of one position are one entry, and sum to zero.
-- In the key, the member comes before the community: a column that tells rows apart comes before one that most share.
-- The key gives a member's legs in the order of recording. Only `folio_line` has them in the order of happening.
CREATE TABLE posting (
    position bigint NOT NULL,
    leg smallint NOT NULL,
    community text NOT NULL,
    member text NOT NULL,
    account text NOT NULL CONSTRAINT known_account CHECK (account IN ('main', 'stake', 'disputed')),
    counterparty text,  -- NULL: the points moved between two accounts of the same member.
    points bigint NOT NULL CONSTRAINT points_are_not_zero CHECK (points <> 0),  -- Positive: the member gave.
    given bigint NOT NULL,          -- What the leg adds to the gross tallies. A reversal subtracts.
    received bigint NOT NULL,
    balance_after bigint NOT NULL,  -- Balance of this account after this leg, in the order of the log.
    happened_at timestamptz NOT NULL,
    rule text NOT NULL,             -- The event whose posting rule made this leg.
    gathering uuid,                 -- The gathering that the aggregate names.
    CONSTRAINT one_posting_per_leg PRIMARY KEY (member, community, position, leg)
);

-- Batches come in the order of positions, so a small block range index finds the pages of an entry's batch.
CREATE INDEX postings_by_position ON posting USING brin (position) WITH (pages_per_range = 8);
CREATE INDEX postings_by_gathering ON posting (community, gathering) WHERE gathering IS NOT NULL;

-- The last check of the first rule: no statement leaves an entry whose legs do not sum to zero.
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

-- Events and postings are never edited or deleted. A correction is a new entry.
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

-- A folio is a run of 2,048 postings of a busy member. A member with fewer postings has no folio. A folio ends with the
-- entry in which the number of the member's postings reaches a multiple of 2,048.
CREATE TABLE folio (
    community text NOT NULL,
    member text NOT NULL,
    number integer NOT NULL,  -- From 1 on, without gaps.
    after bigint NOT NULL,    -- The folio contains the postings after this position,
    until bigint NOT NULL,    -- up to this one.
    CONSTRAINT one_folio_per_number PRIMARY KEY (community, member, number),
    CONSTRAINT a_folio_is_not_empty CHECK (after < until)
);

-- The postings of a full folio in the order in which they happened, each with the sums of the folio up to it.
-- A balance of the past is one line of each folio, and the postings after the last full folio.
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

CREATE INDEX lines_by_time ON folio_line (community, member, happened_at, position, leg);  -- Statements of a member.
CREATE INDEX lines_by_pair ON folio_line (community, member, counterparty, happened_at, position, leg)
    WHERE counterparty IS NOT NULL;                                                        -- Statements of a pair.


-- Members -------------------------------------------------------------------------------------------------------------

-- The current balance of a member.
CREATE TABLE balance (
    community text NOT NULL,
    member text NOT NULL,
    main bigint NOT NULL,  -- Positive: the member has given more than received.
    stake bigint NOT NULL CONSTRAINT stake_is_not_negative CHECK (stake >= 0),
    disputed bigint NOT NULL,
    given bigint NOT NULL CONSTRAINT given_is_not_negative CHECK (given >= 0),
    received bigint NOT NULL CONSTRAINT received_is_not_negative CHECK (received >= 0),
    recent_given numeric NOT NULL,     -- `given` and `received` in decaying weight; see ledger/domain/standing.py.
    recent_received numeric NOT NULL,
    settled bigint NOT NULL,           -- Number of transfers to and from the member, without the reversed ones.
    kept bigint NOT NULL,              -- Number of closed introductions in which the member risked fault and had none,
    broken bigint NOT NULL,            -- and of those in which the member was at fault.
    postings bigint NOT NULL,          -- Number of the member's legs.
    first bigint NOT NULL,             -- Position of the first event that concerned the member.
    CONSTRAINT one_balance_per_member PRIMARY KEY (community, member)
) WITH (fillfactor = 80);

-- Two members, in one row. The id of `low` sorts first. The collation is "C", because the writer sorts by code points,
-- and the language of a database may sort `Zoe` after `ada`.
CREATE TABLE pair (
    community text NOT NULL,
    low text COLLATE "C" NOT NULL,
    high text COLLATE "C" NOT NULL,
    low_gave bigint NOT NULL,     -- Points that `low` has given `high`.
    high_gave bigint NOT NULL,
    low_helped bigint NOT NULL,   -- Number of favours and introductions from `low` to `high`.
    high_helped bigint NOT NULL,
    contacts bigint NOT NULL,     -- Number of contacts, and of one-to-ones, between the two.
    one_to_ones bigint NOT NULL,
    CONSTRAINT one_row_per_pair PRIMARY KEY (community, low, high),
    CONSTRAINT low_sorts_before_high CHECK (low < high),
    CONSTRAINT tallies_are_not_negative CHECK (low_gave >= 0 AND high_gave >= 0)
) WITH (fillfactor = 80);

CREATE INDEX pairs_by_high ON pair (community, high, low);


-- Aggregates ----------------------------------------------------------------------------------------------------------

-- The current state of every aggregate, of every kind. `facts` is the whole state, as the domain encodes it. The other
-- columns serve lists. The parties are the members whom the kind names, in its order; the views below name them.
CREATE TABLE aggregate (
    community text NOT NULL,
    kind text NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL,       -- Number of its events.
    position bigint NOT NULL,       -- Position of its last event.
    began bigint NOT NULL,          -- Position of its first event.
    began_at timestamptz NOT NULL,
    state text NOT NULL,
    party_1 text,
    party_2 text,
    party_3 text,
    gathering uuid,
    facts json NOT NULL,
    CONSTRAINT one_aggregate_per_id PRIMARY KEY (id, kind, community)
) WITH (fillfactor = 90);

-- A list is read along one of these, in the order in which its aggregates began.
CREATE UNIQUE INDEX one_aggregate_per_beginning ON aggregate (community, kind, began);
CREATE INDEX aggregates_by_state ON aggregate (community, kind, state, began);
CREATE INDEX aggregates_by_party_1 ON aggregate (community, kind, party_1, began) WHERE party_1 IS NOT NULL;
CREATE INDEX aggregates_by_party_2 ON aggregate (community, kind, party_2, began) WHERE party_2 IS NOT NULL;
CREATE INDEX aggregates_by_party_3 ON aggregate (community, kind, party_3, began) WHERE party_3 IS NOT NULL;
CREATE INDEX aggregates_by_gathering ON aggregate (community, gathering, kind, began) WHERE gathering IS NOT NULL;

-- The claims that wait for a member's confirmation are few, also where a member has many favours.
CREATE INDEX claims_by_receiver ON aggregate (community, party_2, began) WHERE kind = 'favour' AND state = 'claimed';

-- The aggregates that end by themselves, and the time of it. The clock reads this table.
CREATE TABLE deadline (
    community text NOT NULL,
    kind text NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    CONSTRAINT one_deadline_per_aggregate PRIMARY KEY (community, kind, id)
);

CREATE INDEX deadlines_by_time ON deadline (due_at);

-- The tags that active members want and offer.
CREATE TABLE tag (
    community text NOT NULL,
    member text NOT NULL,
    side text NOT NULL CONSTRAINT known_side CHECK (side IN ('want', 'offer')),
    tag text NOT NULL,
    CONSTRAINT one_tag_per_side PRIMARY KEY (community, member, side, tag)
);

CREATE INDEX tags_by_name ON tag (community, side, tag, member);

-- The tags of referrals and introductions. `began` is the position of the first event of the aggregate, and names it:
-- no other aggregate has the same.
CREATE TABLE topic (
    community text NOT NULL,
    kind text NOT NULL,
    tag text NOT NULL,
    began bigint NOT NULL,
    CONSTRAINT one_topic_per_tag PRIMARY KEY (community, kind, tag, began)
);


-- Views for reports ---------------------------------------------------------------------------------------------------
-- Reports may rely on these names and columns. The tables may change with any version.

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
