-- The tables of the PostgreSQL engine, all in the schema `crossdock`. Times are milliseconds since the Unix epoch unless
-- said; sealed values are bytea that only the vault can open. A key that holds a store's data starts with the store.
--
-- Every table with a store_id is under FORCE ROW LEVEL SECURITY: a transaction sees the stores that it has named in
-- `crossdock.stores` (an array), and none if it has named none. Tables that a look over all stores needs (who has news,
-- whose id is this) can be read, never written, by a transaction that names them in `crossdock.scope` (an array).

CREATE TABLE stores (
    store_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    created_at bigint NOT NULL,
    sealed_key bytea NOT NULL,
    PRIMARY KEY (store_id)
);

-- One row per journal: the counter that gives positions, and the one that numbers conflicts. `moved_at` is the second
-- of the last append by the server's clock: whole seconds, so that a busy journal's index entry stays where it is.
-- `gate`: a store that is moving to another cell takes no entries (closing), and then no settles either (shut).
CREATE TABLE journals (
    store_id text COLLATE "C" NOT NULL,
    head bigint NOT NULL DEFAULT 0 CHECK (head >= 0),
    conflicts bigint NOT NULL DEFAULT 0,
    moved_at bigint NOT NULL DEFAULT 0,
    gate text NOT NULL DEFAULT 'open' CHECK (gate IN ('open', 'closing', 'shut')),
    epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (store_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX journals_moved ON journals (moved_at);

CREATE TABLE entries (
    store_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    origin text COLLATE "C" NOT NULL,
    dedupe_key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    schema_major integer NOT NULL,
    source text NOT NULL,
    occurred_at bigint NOT NULL,
    received_at bigint NOT NULL,
    correlation_id text NOT NULL,
    body bytea NOT NULL,
    personal bytea,
    subject_ref bytea,
    traceparent text,
    caused_by text,
    hops integer NOT NULL
);

-- In this order: on a table without statistics a look-up by (store_id, position) costs the planner the same along each of
-- the three, and the one that was made last is taken.
CREATE INDEX entries_by_event ON entries (store_id, event_id, position);
CREATE UNIQUE INDEX entries_once ON entries (store_id, origin, dedupe_key);
ALTER TABLE entries ADD PRIMARY KEY (store_id, position);
-- What is sealed does not compress.
ALTER TABLE entries ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN personal SET STORAGE EXTERNAL;

CREATE TABLE subject_keys (
    store_id text COLLATE "C" NOT NULL,
    subject_ref bytea NOT NULL,
    wrapped bytea NOT NULL,
    PRIMARY KEY (store_id, subject_ref)
);

-- `seq` orders a store's conflicts; `position` and `event_id` are those of the entry that stands.
CREATE TABLE conflicts (
    store_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    origin text NOT NULL,
    position bigint NOT NULL,
    event_id text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (store_id, seq),
    FOREIGN KEY (store_id, position) REFERENCES entries (store_id, position)
);

-- `slot` is journal.slots.slot_of(store, connection). `closed_head` is where the journal ended when the lane was last
-- closed; `skips` is JSON [[after, to], ...]; `unresolved` counts its held rows that are retrying or waiting.
CREATE TABLE lanes (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    start bigint NOT NULL,
    cursor bigint NOT NULL,
    open boolean NOT NULL,
    closed_head bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    filtered bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    erased bigint NOT NULL DEFAULT 0,
    replayed bigint NOT NULL DEFAULT 0,
    skips text NOT NULL DEFAULT '[]',
    epoch bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    unresolved integer NOT NULL DEFAULT 0 CHECK (unresolved >= 0),
    PRIMARY KEY (store_id, connection_id, route)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX lanes_by_slot ON lanes (slot) WHERE open;

CREATE TABLE held (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('retrying', 'waiting', 'parked')),
    not_before bigint NOT NULL,
    attempts integer NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    held_at bigint NOT NULL,
    replay boolean NOT NULL,
    PRIMARY KEY (store_id, connection_id, route, position),
    FOREIGN KEY (store_id, connection_id, route) REFERENCES lanes,
    FOREIGN KEY (store_id, position) REFERENCES entries (store_id, position)
);

-- A lane with many parked entries must not read them to find the few that are due.
CREATE INDEX held_unresolved ON held (store_id, connection_id, route, position) WHERE state <> 'parked';

-- `seq` counts a lane's attempts (lanes.attempts is the last).
CREATE TABLE attempts (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    route text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    position bigint NOT NULL,
    event_id text NOT NULL,
    number integer NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    code text NOT NULL,
    took_ms bigint NOT NULL,
    status integer,
    retry_after_ms bigint,
    next text NOT NULL,
    correlation_id text NOT NULL,
    not_before bigint,
    PRIMARY KEY (store_id, connection_id, route, seq)
);

CREATE INDEX attempts_by_position ON attempts (store_id, connection_id, route, position, seq);

-- A connection's address is its id alone, so that the id is unique by itself too.
CREATE TABLE connections (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    contract text NOT NULL,
    state text NOT NULL,
    revision integer NOT NULL,
    label text NOT NULL,
    created_at bigint NOT NULL,
    reason text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (store_id, connection_id),
    CONSTRAINT connections_address UNIQUE (connection_id),
    FOREIGN KEY (store_id) REFERENCES stores
);

CREATE TABLE revisions (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    contract_version text NOT NULL,
    config text NOT NULL,
    author text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (store_id, connection_id, number),
    FOREIGN KEY (store_id, connection_id) REFERENCES connections
);

CREATE TABLE credentials (
    store_id text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    hosts text NOT NULL,
    version bigint NOT NULL,
    at bigint NOT NULL,
    previous bytea,
    previous_until bigint,
    PRIMARY KEY (store_id, connection_id, name),
    FOREIGN KEY (store_id, connection_id) REFERENCES connections
);

CREATE TABLE core_endpoints (
    store_id text COLLATE "C" NOT NULL,
    mode text NOT NULL,
    url text NOT NULL,
    sealed_secret bytea NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (store_id),
    FOREIGN KEY (store_id) REFERENCES stores
);

-- A token without a store (store_id '') is the platform's. A token is looked up by its id alone.
CREATE TABLE tokens (
    store_id text COLLATE "C" NOT NULL,
    token_id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    role text NOT NULL,
    label text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint,
    of_store text COLLATE "C" GENERATED ALWAYS AS (nullif(store_id, '')) STORED,
    PRIMARY KEY (store_id, token_id),
    CONSTRAINT tokens_by_id UNIQUE (token_id),
    FOREIGN KEY (of_store) REFERENCES stores
);

-- `seq` numbers the whole installation's log, `store_seq` the log of the entry's store (of '' for an entry without one).
-- `leaf` is the place of the entry's leaf hash in the Merkle log.
CREATE TABLE audit (
    store_id text COLLATE "C" NOT NULL,
    store_seq bigint NOT NULL,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    outcome text NOT NULL,
    correlation_id text NOT NULL,
    detail text NOT NULL,
    leaf bytea,
    PRIMARY KEY (store_id, store_seq),
    CONSTRAINT audit_by_seq UNIQUE (seq)
);

-- One row: the counter of audit.seq. Whoever changes anything holds it until the commit, so that the log has no gap
-- and nobody reads seq n before all below it.
CREATE TABLE installation (
    id integer NOT NULL DEFAULT 1 CHECK (id = 1),
    audit_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
) WITH (fillfactor = 50);
INSERT INTO installation DEFAULT VALUES;

-- Who runs lanes, and until when its lease lasts, by the server's clock.
CREATE TABLE members (
    member text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (member)
) WITH (fillfactor = 50);

-- A member that owns slots cannot be forgotten: whoever takes them over meets it at its row.
CREATE TABLE slots (
    slot integer NOT NULL CHECK (slot BETWEEN 0 AND 1023),
    owner text COLLATE "C",
    epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (slot),
    FOREIGN KEY (owner) REFERENCES members
) WITH (fillfactor = 50);
INSERT INTO slots (slot) SELECT generate_series(0, 1023);

-- The policies compare under another collation than the indexes have, so that they filter and never choose a plan.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['stores', 'journals', 'entries', 'subject_keys', 'conflicts', 'lanes', 'held', 'attempts',
        'connections', 'revisions', 'credentials', 'core_endpoints', 'tokens', 'audit']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_stores ON %I USING (store_id COLLATE "default" = ANY ('
            '(SELECT nullif(current_setting(''crossdock.stores'', true), '''')::text[])::text[]))', name);
    END LOOP;
    -- Names, places, counts and states, for looks over all stores: never a payload, a configuration or a credential.
    -- Row security hides rows and no columns, so three of these hold more, for those alone who name them: `stores` the
    -- store's key, which only the root key opens; `tokens` the SHA-256 of a token's secret; `audit` what was done, in
    -- `detail`. Why is in walls.py, beside every column that can be read so.
    FOREACH name IN ARRAY ARRAY['stores', 'journals', 'lanes', 'connections', 'tokens', 'audit']
    LOOP
        EXECUTE format(
            'CREATE POLICY platform_reads ON %I FOR SELECT USING ('
            '%L = ANY ((SELECT nullif(current_setting(''crossdock.scope'', true), '''')::text[])::text[]))', name, name);
    END LOOP;
END
$$;
