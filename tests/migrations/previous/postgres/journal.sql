-- The journal. Arrays stand for rows: one statement takes a whole group. lanes.sql says why lookups are lateral.

-- name: lock_journals
-- In one order, so that two groups never wait for each other.
SELECT store_id, head, conflicts, gate, epoch
FROM journals WHERE store_id = ANY ($1::text[]) ORDER BY store_id FOR NO KEY UPDATE

-- name: add_journals
INSERT INTO journals (store_id) SELECT asked.store_id FROM unnest($1::text[]) AS asked (store_id) ORDER BY 1
ON CONFLICT DO NOTHING

-- name: known
-- What stands for dedupe keys, and the keys of subjects.
-- The order by dedupe_key leaves the planner no other index than entries_once: on a table without statistics, equality on
-- three columns costs it the same along any index that starts with the store, and the plan is kept.
SELECT e.store_id, e.origin, e.dedupe_key, e.fingerprint, e.position, e.event_id, e.correlation_id,
    NULL::bytea AS subject_ref, NULL::bytea AS wrapped
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (store_id, origin, dedupe_key)
CROSS JOIN LATERAL (
    SELECT * FROM entries AS e
    WHERE e.store_id = asked.store_id AND e.origin = asked.origin AND e.dedupe_key >= asked.dedupe_key
    ORDER BY e.dedupe_key LIMIT 1
) AS e
WHERE e.dedupe_key = asked.dedupe_key
UNION ALL
SELECT k.store_id, NULL, NULL, NULL, NULL, NULL, NULL, k.subject_ref, k.wrapped
FROM unnest($4::text[], $5::bytea[]) AS asked (store_id, subject_ref)
CROSS JOIN LATERAL (
    SELECT * FROM subject_keys AS k
    WHERE k.store_id = asked.store_id AND k.subject_ref = asked.subject_ref LIMIT 1
) AS k

-- name: add
-- Entries, the keys of their subjects, and the counters that they move. `moved_at` counts whole seconds and never goes
-- back: within a second a busy journal's row changes in place. A join with an array could walk every journal.
WITH added AS (
    INSERT INTO entries (
        store_id, position, origin, dedupe_key, fingerprint, event_id, type, schema_major, source, occurred_at,
        received_at, correlation_id, body, personal, subject_ref, traceparent, caused_by, hops
    )
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::integer[],
        $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bytea[], $14::bytea[], $15::bytea[], $16::text[],
        $17::text[], $18::integer[]
    )
), keyed AS (
    INSERT INTO subject_keys (store_id, subject_ref, wrapped)
    SELECT * FROM unnest($19::text[], $20::bytea[], $21::bytea[])
)
UPDATE journals AS j SET head = ($23::bigint[])[array_position($22::text[], j.store_id)],
    conflicts = ($24::bigint[])[array_position($22::text[], j.store_id)],
    moved_at = greatest(j.moved_at, extract(epoch FROM clock_timestamp())::bigint)
WHERE j.store_id = ANY ($22::text[])

-- name: add_conflicts
INSERT INTO conflicts (store_id, seq, origin, position, event_id, at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])

-- name: head
SELECT head FROM journals WHERE store_id = $1

-- name: look
-- The second is the one in which the transaction began: before its snapshot was taken. Its own number comes last, so that
-- whatever had begun by then has a lower one (the snapshot's xmax says only what had ended); a commit of nothing but a
-- number waits for no disk and no standby. A standby gives none.
SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint AS server,
    extract(epoch FROM now())::bigint AS second,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
    CASE WHEN pg_is_in_recovery() THEN 9223372036854775807 ELSE pg_current_xact_id()::text::bigint END AS own

-- name: moved
SELECT store_id, head FROM journals WHERE moved_at >= $1

-- name: subject_key
SELECT wrapped FROM subject_keys WHERE store_id = $1 AND subject_ref = $2

-- name: conflicts
SELECT store_id, origin, position, event_id, at FROM conflicts WHERE store_id = $1 ORDER BY seq DESC LIMIT $2

-- name: entries_after
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = $1 AND position > $2 ORDER BY position LIMIT $3

-- name: entry
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = $1 AND position = $2

-- name: entries_of_event
-- A range and its order leave the planner one index: on a table without statistics the primary key would cost the same.
SELECT store_id, position, origin, event_id, type, schema_major, source, occurred_at, received_at, correlation_id,
    body, personal, subject_ref, traceparent, caused_by, hops
FROM entries WHERE store_id = $1 AND event_id BETWEEN $2 AND $2 ORDER BY event_id, position

-- name: set_gate
-- It counts as a move, so that lanes which waited at the gate are looked at.
INSERT INTO journals AS j (store_id, gate, epoch, moved_at)
VALUES ($1, $2, coalesce($3::bigint, 0), extract(epoch FROM clock_timestamp())::bigint)
ON CONFLICT (store_id) DO UPDATE SET gate = excluded.gate, epoch = coalesce($3::bigint, j.epoch),
    moved_at = greatest(j.moved_at, excluded.moved_at)

-- name: writable
-- The row that every change counts on: locking it writes, so that a standby says no.
SELECT id FROM installation WHERE id = 1 FOR KEY SHARE
