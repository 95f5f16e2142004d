-- The embedded engine's tables. Times are milliseconds since the Unix epoch; sealed values are BLOBs that only the
-- vault can open. A key that holds a store's data starts with the store.

CREATE TABLE stores (
    store_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    sealed_key BLOB NOT NULL,
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 16)
) WITHOUT ROWID, STRICT;

-- One row per journal: the counter that gives positions. `moved_at` is the second of its last move, and never goes back
-- from one commit to the next. `gate`: a store that is moving to another place takes no entries (closing), and then no
-- settles either (shut); `epoch` counts its places.
CREATE TABLE journals (
    store_id TEXT PRIMARY KEY,
    head INTEGER NOT NULL CHECK (head >= 0),
    moved_at INTEGER NOT NULL DEFAULT 0,
    gate TEXT NOT NULL DEFAULT 'open' CHECK (gate IN ('open', 'closing', 'shut')),
    epoch INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

CREATE INDEX journals_moved ON journals (moved_at);

CREATE TABLE entries (
    store_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    schema_major INTEGER NOT NULL,
    source TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    correlation_id TEXT NOT NULL,
    body BLOB NOT NULL,
    personal BLOB,
    subject_ref BLOB,
    traceparent TEXT,
    caused_by TEXT,
    hops INTEGER NOT NULL,
    PRIMARY KEY (store_id, position)
) WITHOUT ROWID, STRICT;

CREATE UNIQUE INDEX entries_once ON entries (store_id, origin, dedupe_key);
CREATE INDEX entries_by_event ON entries (store_id, event_id);

CREATE TABLE subject_keys (
    store_id TEXT NOT NULL,
    subject_ref BLOB NOT NULL,
    wrapped BLOB NOT NULL,
    PRIMARY KEY (store_id, subject_ref)
) WITHOUT ROWID, STRICT;

-- `seq` orders a store's conflicts; `position` and `event_id` are those of the entry that stands.
CREATE TABLE conflicts (
    store_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    origin TEXT NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (store_id, seq)
) WITHOUT ROWID, STRICT;

-- `closed_head` is where the journal ended when the lane was last closed; `skips` is JSON [[after, to], ...].
CREATE TABLE lanes (
    store_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    route TEXT NOT NULL,
    start INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    open INTEGER NOT NULL,
    closed_head INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    erased INTEGER NOT NULL DEFAULT 0,
    replayed INTEGER NOT NULL DEFAULT 0,
    skips TEXT NOT NULL DEFAULT '[]',
    epoch INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (store_id, connection_id, route)
) WITHOUT ROWID, STRICT;

CREATE TABLE held (
    store_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    route TEXT NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('retrying', 'waiting', 'parked')),
    not_before INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    replay INTEGER NOT NULL,
    PRIMARY KEY (store_id, connection_id, route, position),
    FOREIGN KEY (store_id, connection_id, route) REFERENCES lanes,
    FOREIGN KEY (store_id, position) REFERENCES entries
) WITHOUT ROWID, STRICT;

-- A lane with many parked entries must not read them to find the few that are due.
CREATE INDEX held_unresolved ON held (store_id, connection_id, route, position) WHERE state <> 'parked';

-- `seq` counts a lane's attempts (lanes.attempts is the last).
CREATE TABLE attempts (
    store_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    route TEXT NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,
    retry_after_ms INTEGER,
    next TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    not_before INTEGER,
    PRIMARY KEY (store_id, connection_id, route, seq)
) WITHOUT ROWID, STRICT;

CREATE INDEX attempts_by_position ON attempts (store_id, connection_id, route, position, seq);

-- A connection's address is its id alone, so the id is the key; the store stands in every row that hangs on it.
CREATE TABLE connections (
    connection_id TEXT PRIMARY KEY,
    store_id TEXT NOT NULL REFERENCES stores,
    contract TEXT NOT NULL,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (store_id, connection_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE revisions (
    store_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    contract_version TEXT NOT NULL,
    config TEXT NOT NULL,
    author TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (store_id, connection_id, number),
    FOREIGN KEY (store_id, connection_id) REFERENCES connections (store_id, connection_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE credentials (
    store_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    hosts TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    previous BLOB,
    previous_until INTEGER,
    PRIMARY KEY (store_id, connection_id, name),
    FOREIGN KEY (store_id, connection_id) REFERENCES connections (store_id, connection_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE core_endpoints (
    store_id TEXT PRIMARY KEY REFERENCES stores,
    mode TEXT NOT NULL,
    url TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    role TEXT NOT NULL,
    store_id TEXT REFERENCES stores,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID, STRICT;

CREATE INDEX tokens_by_store ON tokens (store_id);

-- `seq` numbers the whole installation's log, `store_seq` the log of the entry's store (0 without a store).
-- `leaf` is the place of the entry's leaf hash in the Merkle log.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    store_id TEXT,
    store_seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    leaf BLOB
) STRICT;

CREATE UNIQUE INDEX audit_by_store ON audit (store_id, store_seq) WHERE store_id IS NOT NULL;
