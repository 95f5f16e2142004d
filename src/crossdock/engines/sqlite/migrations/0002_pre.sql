-- Journals learn when they last moved and whether their store is moving away. The table is made anew, because a store
-- without entries may move too: its head is 0. What release 0.1 writes here still fits.
CREATE TABLE journals_before AS SELECT store_id, head FROM journals;
DROP TABLE journals;

CREATE TABLE journals (
    store_id TEXT PRIMARY KEY,
    head INTEGER NOT NULL CHECK (head >= 0),
    moved_at INTEGER NOT NULL DEFAULT 0,
    gate TEXT NOT NULL DEFAULT 'open' CHECK (gate IN ('open', 'closing', 'shut')),
    epoch INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

INSERT INTO journals (store_id, head) SELECT store_id, head FROM journals_before;
DROP TABLE journals_before;

CREATE INDEX journals_moved ON journals (moved_at);
