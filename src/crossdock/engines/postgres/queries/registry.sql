-- The control plane's rows. Every statement names its stores, although row security would do: both walls stand.

-- name: stores
-- Read over all stores; every store is asked for, by pages.
SELECT store_id, name, created_at, sealed_key, weight FROM stores WHERE store_id > $1 ORDER BY store_id LIMIT $2

-- name: store
SELECT store_id, name, created_at, sealed_key, weight FROM stores WHERE store_id = $1

-- name: add_store
-- With a plain weight.
INSERT INTO stores (store_id, name, created_at, sealed_key) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: set_weight
UPDATE stores SET weight = $2 WHERE store_id = $1

-- name: connections
SELECT connection_id, store_id, contract, state, revision, label, created_at, reason, version
FROM connections WHERE store_id = $1 ORDER BY connection_id

-- name: connection
-- Read over all stores: the id gives the store.
SELECT connection_id, store_id, contract, state, revision, label, created_at, reason, version
FROM connections WHERE connection_id = $1

-- name: connection_of_store
SELECT connection_id FROM connections WHERE store_id = $1 AND connection_id = $2

-- name: add_connection
-- The id may be another store's: that row is not seen, and nothing is written.
INSERT INTO connections (connection_id, store_id, contract, state, revision, label, created_at, reason, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING

-- name: move_connection
UPDATE connections
SET contract = $3, state = $4, revision = $5, label = $6, created_at = $7, reason = $8, version = $9
WHERE store_id = $2 AND connection_id = $1 AND version = $10

-- name: revisions
SELECT connection_id, store_id, number, contract_version, config, author, at
FROM revisions WHERE store_id = $1 AND connection_id = $2 ORDER BY number

-- name: revision
SELECT connection_id, store_id, number, contract_version, config, author, at
FROM revisions WHERE store_id = $1 AND connection_id = $2 AND number = $3

-- name: add_revision
INSERT INTO revisions (connection_id, store_id, number, contract_version, config, author, at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING

-- name: credentials
SELECT store_id, connection_id, name, sealed, hosts, version, at, previous, previous_until
FROM credentials WHERE store_id = $1 AND connection_id = $2 ORDER BY name

-- name: add_credential
INSERT INTO credentials (store_id, connection_id, name, sealed, hosts, version, at, previous, previous_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING

-- name: move_credential
UPDATE credentials SET sealed = $4, hosts = $5, version = $6, at = $7, previous = $8, previous_until = $9
WHERE store_id = $1 AND connection_id = $2 AND name = $3 AND version = $10

-- name: drop_credential
DELETE FROM credentials WHERE store_id = $1 AND connection_id = $2 AND name = $3

-- name: core_endpoint
SELECT store_id, mode, url, sealed_secret, version FROM core_endpoints WHERE store_id = $1

-- name: add_core_endpoint
INSERT INTO core_endpoints (store_id, mode, url, sealed_secret, version) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

-- name: move_core_endpoint
UPDATE core_endpoints SET mode = $2, url = $3, sealed_secret = $4, version = $5 WHERE store_id = $1 AND version = $6

-- name: token
-- Read over all stores: the id gives the store.
SELECT token_id, digest, role, store_id, label, created_at, expires_at, revoked_at FROM tokens WHERE token_id = $1

-- name: tokens
-- Read over all stores; every token is asked for.
SELECT token_id, digest, role, store_id, label, created_at, expires_at, revoked_at FROM tokens ORDER BY token_id

-- name: tokens_of_store
SELECT token_id, digest, role, store_id, label, created_at, expires_at, revoked_at
FROM tokens WHERE store_id = $1 ORDER BY token_id

-- name: token_homes
-- Read over all stores: the id gives the store.
SELECT token_id, store_id FROM tokens WHERE token_id = ANY ($1::text[])

-- name: add_token
INSERT INTO tokens (token_id, digest, role, store_id, label, created_at, expires_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING

-- name: revoke_token
UPDATE tokens SET revoked_at = coalesce(revoked_at, $3) WHERE store_id = $1 AND token_id = $2

-- name: see_gates
-- Whoever shuts a gate then waits for this lock (await_changes): so a change either sees the gate shut, or is done
-- before the store is taken to stand still. Appends do not wait for it.
SELECT store_id, gate FROM journals WHERE store_id = ANY ($1::text[]) ORDER BY store_id FOR KEY SHARE

-- name: await_changes
SELECT store_id FROM journals WHERE store_id = $1 FOR UPDATE

-- name: take_audit_seqs
-- The last lock of a change, held until its commit: the log has no gap, and nobody reads a number before all below it.
UPDATE installation SET audit_seq = audit_seq + $1 WHERE id = 1 RETURNING audit_seq - $1

-- name: add_audit
-- After the numbers were taken: nobody else adds to any store's log meanwhile.
INSERT INTO audit (store_id, store_seq, seq, at, actor, action, object, outcome, correlation_id, detail)
SELECT new.store_id,
    row_number() OVER (PARTITION BY new.store_id ORDER BY new.number) + coalesce(
        (SELECT a.store_seq FROM audit AS a WHERE a.store_id = new.store_id ORDER BY a.store_seq DESC LIMIT 1), 0
    ),
    $1::bigint + new.number, new.at, new.actor, new.action, new.object, new.outcome, new.correlation_id, new.detail
FROM unnest(
    $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]
) WITH ORDINALITY AS new (store_id, at, actor, action, object, outcome, correlation_id, detail, number)

-- name: audit
-- Read over all stores; the whole log is asked for, by pages.
SELECT seq, store_id, at, actor, action, object, outcome, correlation_id, detail
FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: audit_of_store
SELECT store_seq, store_id, at, actor, action, object, outcome, correlation_id, detail
FROM audit WHERE store_id = $1 AND store_seq > $2 ORDER BY store_seq LIMIT $3

-- name: audit_end
SELECT audit_seq FROM installation WHERE id = 1

-- name: changed_since
-- Read over all stores; every store is asked for, by pages.
SELECT seq, store_id FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: add_lane
INSERT INTO lanes (store_id, connection_id, route, slot, start, cursor, open, closed_head, delivered, superseded,
    filtered, expired, erased, replayed, skips, epoch, attempts, unresolved)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT DO NOTHING

-- name: change_lane
UPDATE lanes SET cursor = $4, open = $5, closed_head = $6, expired = $7, replayed = $8, skips = $9, epoch = $10,
    unresolved = $11
WHERE store_id = $1 AND connection_id = $2 AND route = $3

-- name: held_among
SELECT position, state, not_before, attempts, key, reason, held_at, replay
FROM held WHERE store_id = $1 AND connection_id = $2 AND route = $3 AND position = ANY ($4::bigint[])

-- name: discard_held
DELETE FROM held WHERE store_id = $1 AND connection_id = $2 AND route = $3 AND state <> 'parked'
