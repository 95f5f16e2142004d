-- name: create
CREATE TABLE IF NOT EXISTS crossdock_outbox (
    seq           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store         TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    event         TEXT NOT NULL,
    claimed_by    TEXT,
    claimed_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    refused       TEXT,  -- the problem code of an event that is set aside
    refused_why   TEXT
);
CREATE INDEX IF NOT EXISTS crossdock_outbox_waiting ON crossdock_outbox (seq) WHERE refused IS NULL;

-- name: add
INSERT INTO crossdock_outbox (store, event_id, event) VALUES (%s, %s, %s)

-- name: claim
UPDATE crossdock_outbox
SET claimed_by = %s, claimed_until = clock_timestamp() + make_interval(secs => %s)
WHERE seq IN (
    SELECT seq FROM crossdock_outbox
    WHERE refused IS NULL AND (claimed_until <= clock_timestamp() OR claimed_by = %s)
    ORDER BY seq
    LIMIT %s
    FOR UPDATE SKIP LOCKED
)
RETURNING seq, store, event_id, event

-- name: delete
DELETE FROM crossdock_outbox WHERE seq = %s

-- name: release
UPDATE crossdock_outbox SET claimed_by = NULL, claimed_until = '-infinity' WHERE claimed_by = %s

-- name: set_aside
UPDATE crossdock_outbox
SET refused = %s, refused_why = %s, claimed_by = NULL, claimed_until = '-infinity'
WHERE seq = %s

-- name: put_back
UPDATE crossdock_outbox SET refused = NULL, refused_why = NULL WHERE refused IS NOT NULL

-- name: count
SELECT COUNT(*) - COUNT(refused), COUNT(refused) FROM crossdock_outbox

-- name: refused
SELECT seq, store, event_id, refused, refused_why FROM crossdock_outbox WHERE refused IS NOT NULL ORDER BY seq LIMIT %s
