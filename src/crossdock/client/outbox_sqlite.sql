-- name: create
CREATE TABLE IF NOT EXISTS crossdock_outbox (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    store         TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    event         TEXT NOT NULL,
    claimed_by    TEXT,
    claimed_until INTEGER NOT NULL DEFAULT 0,  -- seconds since 1970, by the database's clock
    refused       TEXT,                        -- the problem code of an event that is set aside
    refused_why   TEXT
);
CREATE INDEX IF NOT EXISTS crossdock_outbox_waiting ON crossdock_outbox (seq) WHERE refused IS NULL;

-- name: add
INSERT INTO crossdock_outbox (store, event_id, event) VALUES (?, ?, ?)

-- name: claim
UPDATE crossdock_outbox
SET claimed_by = ?, claimed_until = CAST(strftime('%s', 'now') AS INTEGER) + ?
WHERE seq IN (
    SELECT seq FROM crossdock_outbox
    WHERE refused IS NULL AND (claimed_until <= CAST(strftime('%s', 'now') AS INTEGER) OR claimed_by = ?)
    ORDER BY seq
    LIMIT ?
)
RETURNING seq, store, event_id, event

-- name: delete
DELETE FROM crossdock_outbox WHERE seq = ?

-- name: release
UPDATE crossdock_outbox SET claimed_by = NULL, claimed_until = 0 WHERE claimed_by = ?

-- name: set_aside
UPDATE crossdock_outbox
SET refused = ?, refused_why = ?, claimed_by = NULL, claimed_until = 0
WHERE seq = ?

-- name: put_back
UPDATE crossdock_outbox SET refused = NULL, refused_why = NULL WHERE refused IS NOT NULL

-- name: count
SELECT COUNT(*) - COUNT(refused), COUNT(refused) FROM crossdock_outbox

-- name: refused
SELECT seq, store, event_id, refused, refused_why FROM crossdock_outbox WHERE refused IS NOT NULL ORDER BY seq LIMIT ?
