-- name: head
SELECT head FROM journals WHERE store_id = ?

-- name: head_and_gate
SELECT head, gate FROM journals WHERE store_id = ?

-- name: last_moved
SELECT coalesce(max(moved_at), 0) FROM journals

-- name: moved_since
SELECT store_id, head FROM journals WHERE moved_at >= ?

-- name: put_head
INSERT INTO journals (store_id, head, moved_at)
SELECT ?1, ?2, max(unixepoch(), coalesce(max(moved_at), 0)) FROM journals WHERE true
ON CONFLICT (store_id) DO UPDATE SET head = excluded.head, moved_at = excluded.moved_at

-- name: put_gate
INSERT INTO journals (store_id, head, gate, epoch, moved_at)
SELECT ?1, 0, ?2, coalesce(?3, 0), max(unixepoch(), coalesce(max(moved_at), 0)) FROM journals WHERE true
ON CONFLICT (store_id) DO UPDATE SET gate = excluded.gate, epoch = coalesce(?3, epoch), moved_at = excluded.moved_at

-- name: firsts
WITH asked (store_id, origin, dedupe_key) AS (VALUES (?, ?, ?))
SELECT e.store_id, e.origin, e.dedupe_key, e.fingerprint, e.position, e.event_id, e.correlation_id
FROM asked CROSS JOIN entries AS e USING (store_id, origin, dedupe_key)

-- name: add_entries
INSERT INTO entries (
    store_id, position, origin, dedupe_key, fingerprint, event_id, type, schema_major, source, occurred_at,
    received_at, correlation_id, body, personal, subject_ref, traceparent, caused_by, hops
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: subject_key
SELECT wrapped FROM subject_keys WHERE store_id = ? AND subject_ref = ?

-- name: subject_keys
WITH asked (store_id, subject_ref) AS (VALUES (?, ?))
SELECT k.store_id, k.subject_ref, k.wrapped FROM asked CROSS JOIN subject_keys AS k USING (store_id, subject_ref)

-- name: add_subject_keys
INSERT INTO subject_keys (store_id, subject_ref, wrapped) VALUES (?, ?, ?)

-- name: add_conflict
INSERT INTO conflicts (store_id, seq, origin, position, event_id, at)
SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM conflicts WHERE store_id = ?1

-- name: conflicts
SELECT store_id, origin, position, event_id, at FROM conflicts WHERE store_id = ? ORDER BY seq DESC LIMIT ?

-- name: entries_after
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = ? AND position > ? ORDER BY position LIMIT ?

-- name: entry
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = ? AND position = ?

-- name: entries_of_event
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = ? AND event_id = ? ORDER BY position

-- name: lane
SELECT store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased, replayed,
    skips, epoch, closed_head, attempts
FROM lanes WHERE store_id = ? AND connection_id = ? AND route = ?

-- name: open_lanes
SELECT store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased, replayed,
    skips, epoch, closed_head, attempts
FROM lanes WHERE open = 1 ORDER BY store_id, connection_id, route

-- name: open_lanes_of
SELECT store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased, replayed,
    skips, epoch, closed_head, attempts
FROM lanes WHERE open = 1 AND store_id IN (SELECT value FROM json_each(?)) ORDER BY store_id, connection_id, route

-- name: stirring
SELECT store_id, connection_id, route FROM lanes AS l
WHERE open = 1 AND (
    cursor < coalesce((SELECT head FROM journals AS j WHERE j.store_id = l.store_id), 0)
    OR EXISTS (
        SELECT 1 FROM held AS h
        WHERE h.store_id = l.store_id AND h.connection_id = l.connection_id AND h.route = l.route AND state <> 'parked'
    )
)

-- name: lanes_with_held
SELECT l.store_id, l.connection_id, l.route, start, cursor, open, delivered, superseded, filtered, expired, erased,
    replayed, skips, epoch, closed_head, l.attempts,
    coalesce((SELECT head FROM journals AS j WHERE j.store_id = l.store_id), 0),
    (SELECT count(*) FROM held AS h
     WHERE h.store_id = l.store_id AND h.connection_id = l.connection_id AND h.route = l.route AND state <> 'parked'),
    (SELECT count(*) FROM held AS h
     WHERE h.store_id = l.store_id AND h.connection_id = l.connection_id AND h.route = l.route AND state = 'parked')
FROM lanes AS l WHERE ?1 IS NULL OR l.store_id = ?1 ORDER BY l.store_id, l.connection_id, l.route

-- name: put_lane
INSERT INTO lanes (store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired,
    erased, replayed, skips, epoch, closed_head, attempts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store_id, connection_id, route) DO UPDATE SET
    cursor = excluded.cursor, open = excluded.open, delivered = excluded.delivered, superseded = excluded.superseded,
    filtered = excluded.filtered, expired = excluded.expired, erased = excluded.erased, replayed = excluded.replayed,
    skips = excluded.skips, epoch = excluded.epoch, closed_head = excluded.closed_head, attempts = excluded.attempts

-- name: unresolved
SELECT position, state, not_before, attempts, key, reason, held_at, replay
FROM held WHERE store_id = ? AND connection_id = ? AND route = ? AND state <> 'parked' ORDER BY position

-- name: held_at
SELECT position, state, not_before, attempts, key, reason, held_at, replay
FROM held WHERE store_id = ? AND connection_id = ? AND route = ? AND position = ?

-- name: held_after
SELECT position, state, not_before, attempts, key, reason, held_at, replay
FROM held WHERE store_id = ? AND connection_id = ? AND route = ? AND position > ? AND (?5 IS NULL OR state = ?5)
ORDER BY position LIMIT ?6

-- name: put_held
INSERT INTO held (
    store_id, connection_id, route, position, state, not_before, attempts, key, reason, held_at, replay
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store_id, connection_id, route, position) DO UPDATE SET
    state = excluded.state, not_before = excluded.not_before, attempts = excluded.attempts, key = excluded.key,
    reason = excluded.reason, held_at = excluded.held_at, replay = excluded.replay

-- name: release
DELETE FROM held WHERE store_id = ? AND connection_id = ? AND route = ? AND position = ?

-- name: discard_held
DELETE FROM held WHERE store_id = ? AND connection_id = ? AND route = ? AND state <> 'parked'

-- name: add_attempts
INSERT INTO attempts (
    store_id, connection_id, route, seq, position, event_id, number, at, kind, code, took_ms, status, retry_after_ms,
    next, correlation_id, not_before
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: attempts
SELECT position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, next, correlation_id, not_before
FROM attempts WHERE store_id = ? AND connection_id = ? AND route = ? ORDER BY seq DESC LIMIT ?

-- name: attempts_at
SELECT position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, next, correlation_id, not_before
FROM attempts WHERE store_id = ? AND connection_id = ? AND route = ? AND position = ? ORDER BY seq DESC LIMIT ?

-- name: stores
SELECT store_id, name, created_at, sealed_key, weight FROM stores WHERE store_id > ? ORDER BY store_id LIMIT ?

-- name: store
SELECT store_id, name, created_at, sealed_key, weight FROM stores WHERE store_id = ?

-- name: add_store
-- With a plain weight.
INSERT INTO stores (store_id, name, created_at, sealed_key) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: set_weight
UPDATE stores SET weight = ? WHERE store_id = ?

-- name: connections
SELECT connection_id, store_id, contract, state, revision, label, created_at, reason, version
FROM connections WHERE store_id = ? ORDER BY connection_id

-- name: connection
SELECT connection_id, store_id, contract, state, revision, label, created_at, reason, version
FROM connections WHERE connection_id = ?

-- name: add_connection
INSERT INTO connections (connection_id, store_id, contract, state, revision, label, created_at, reason, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: move_connection
UPDATE connections SET contract = ?3, state = ?4, revision = ?5, label = ?6, created_at = ?7, reason = ?8, version = ?9
WHERE connection_id = ?1 AND store_id = ?2 AND version = ?10

-- name: revisions
SELECT connection_id, store_id, number, contract_version, config, author, at
FROM revisions WHERE store_id = ? AND connection_id = ? ORDER BY number

-- name: revision
SELECT connection_id, store_id, number, contract_version, config, author, at
FROM revisions WHERE store_id = ? AND connection_id = ? AND number = ?

-- name: add_revision
INSERT INTO revisions (connection_id, store_id, number, contract_version, config, author, at)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: credentials
SELECT store_id, connection_id, name, sealed, hosts, version, at, previous, previous_until
FROM credentials WHERE store_id = ? AND connection_id = ? ORDER BY name

-- name: add_credential
INSERT INTO credentials (store_id, connection_id, name, sealed, hosts, version, at, previous, previous_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: move_credential
UPDATE credentials SET sealed = ?4, hosts = ?5, version = ?6, at = ?7, previous = ?8, previous_until = ?9
WHERE store_id = ?1 AND connection_id = ?2 AND name = ?3 AND version = ?10

-- name: drop_credential
DELETE FROM credentials WHERE store_id = ? AND connection_id = ? AND name = ?

-- name: core_endpoint
SELECT store_id, mode, url, sealed_secret, version FROM core_endpoints WHERE store_id = ?

-- name: add_core_endpoint
INSERT INTO core_endpoints (store_id, mode, url, sealed_secret, version) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: move_core_endpoint
UPDATE core_endpoints SET mode = ?2, url = ?3, sealed_secret = ?4, version = ?5 WHERE store_id = ?1 AND version = ?6

-- name: token
SELECT token_id, digest, role, store_id, label, created_at, expires_at, revoked_at FROM tokens WHERE token_id = ?

-- name: tokens
SELECT token_id, digest, role, store_id, label, created_at, expires_at, revoked_at
FROM tokens WHERE ?1 IS NULL OR store_id = ?1 ORDER BY token_id

-- name: add_token
INSERT INTO tokens (token_id, digest, role, store_id, label, created_at, expires_at, revoked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: revoke_token
UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE token_id = ?1

-- name: add_audit
INSERT INTO audit (seq, store_id, store_seq, at, actor, action, object, outcome, correlation_id, detail)
SELECT (SELECT coalesce(max(seq), 0) + 1 FROM audit), ?1,
    iif(?1 IS NULL, 0, (SELECT coalesce(max(store_seq), 0) + 1 FROM audit WHERE store_id = ?1)),
    ?2, ?3, ?4, ?5, ?6, ?7, ?8

-- name: audit
SELECT seq, store_id, at, actor, action, object, outcome, correlation_id, detail
FROM audit WHERE seq > ? ORDER BY seq LIMIT ?

-- name: audit_of_store
SELECT store_seq, store_id, at, actor, action, object, outcome, correlation_id, detail
FROM audit WHERE store_id = ? AND store_seq > ? ORDER BY store_seq LIMIT ?

-- name: audit_end
SELECT coalesce(max(seq), 0) FROM audit

-- name: changed_since
SELECT DISTINCT store_id FROM audit WHERE seq > ?
