-- The lanes. Arrays stand for rows: one statement takes a whole group. Every statement names its stores, although row
-- security would do: both walls stand.
--
-- A plan is kept for a while, and the planner prices a small table alike whether it finds one row by its whole key or
-- walks everything of the stores in the scope. A lateral subquery that is not flattened (OFFSET 0, LIMIT, FOR UPDATE)
-- leaves it only a look-up for each row; an order that one index alone gives leaves it only that index.

-- name: open_lanes
-- Read over all stores; every open lane is asked for.
SELECT store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased, replayed,
    skips, epoch, closed_head, attempts, unresolved
FROM lanes WHERE open ORDER BY store_id, connection_id, route

-- name: open_lanes_of
SELECT l.store_id, l.connection_id, l.route, l.start, l.cursor, l.open, l.delivered, l.superseded, l.filtered,
    l.expired, l.erased, l.replayed, l.skips, l.epoch, l.closed_head, l.attempts, l.unresolved
FROM unnest($1::text[]) AS asked (store_id)
CROSS JOIN LATERAL (
    SELECT * FROM lanes WHERE lanes.store_id = asked.store_id ORDER BY lanes.connection_id, lanes.route OFFSET 0
) AS l
WHERE l.open ORDER BY l.store_id, l.connection_id, l.route

-- name: lane
SELECT store_id, connection_id, route, start, cursor, open, delivered, superseded, filtered, expired, erased, replayed,
    skips, epoch, closed_head, attempts, unresolved
FROM lanes WHERE store_id = $1 AND connection_id = $2 AND route = $3

-- name: stirring
-- Read over all stores.
SELECT l.store_id, l.connection_id, l.route
FROM lanes AS l
LEFT JOIN LATERAL (SELECT * FROM journals WHERE journals.store_id = l.store_id OFFSET 0) AS j ON true
WHERE l.open AND l.slot = ANY ($1::integer[]) AND (l.unresolved > 0 OR l.cursor < coalesce(j.head, 0))

-- name: lanes_asked
-- A store whose gate is not open starts no turns.
SELECT l.store_id, l.connection_id, l.route, l.start, l.cursor, l.open, l.delivered, l.superseded, l.filtered,
    l.expired, l.erased, l.replayed, l.skips, l.epoch, l.closed_head, l.attempts, l.unresolved, coalesce(j.head, 0)
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (store_id, connection_id, route)
CROSS JOIN LATERAL (
    SELECT * FROM lanes
    WHERE lanes.store_id = asked.store_id AND lanes.connection_id = asked.connection_id AND lanes.route = asked.route
    OFFSET 0
) AS l
LEFT JOIN LATERAL (SELECT * FROM journals WHERE journals.store_id = l.store_id OFFSET 0) AS j ON true
WHERE coalesce(j.gate, 'open') = 'open'

-- name: unresolved
SELECT h.store_id, h.connection_id, h.route,
    h.position, h.state, h.not_before, h.attempts, h.key, h.reason, h.held_at, h.replay
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (store_id, connection_id, route)
CROSS JOIN LATERAL (
    SELECT * FROM held
    WHERE held.store_id = asked.store_id AND held.connection_id = asked.connection_id AND held.route = asked.route
        AND held.state <> 'parked'
    OFFSET 0
) AS h

-- name: windows
SELECT e.store_id, e.position, e.origin, e.event_id, e.type, e.schema_major, e.source, e.occurred_at, e.received_at,
    e.correlation_id, e.body, e.personal, e.subject_ref, e.traceparent, e.caused_by, e.hops, asked.after
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS asked (store_id, after, entries_max)
CROSS JOIN LATERAL (
    SELECT * FROM entries WHERE entries.store_id = asked.store_id AND entries.position > asked.after
    ORDER BY entries.position LIMIT asked.entries_max
) AS e

-- name: entries_asked
SELECT e.store_id, e.position, e.origin, e.event_id, e.type, e.schema_major, e.source, e.occurred_at, e.received_at,
    e.correlation_id, e.body, e.personal, e.subject_ref, e.traceparent, e.caused_by, e.hops
FROM unnest($1::text[], $2::bigint[]) AS asked (store_id, position)
CROSS JOIN LATERAL (
    SELECT * FROM entries WHERE entries.store_id = asked.store_id AND entries.position >= asked.position
    ORDER BY entries.position LIMIT 1
) AS e
WHERE e.position = asked.position

-- name: hold_slots
-- A share of the slots: whoever takes one over waits for this transaction, or is seen by it. In one order.
SELECT slot, epoch FROM slots WHERE slot = ANY ($1::integer[]) ORDER BY slot FOR SHARE

-- name: lock_lanes
-- In one order, so that two groups never wait for each other.
SELECT l.store_id, l.connection_id, l.route, l.start, l.cursor, l.open, l.delivered, l.superseded, l.filtered,
    l.expired, l.erased, l.replayed, l.skips, l.epoch, l.closed_head, l.attempts, l.unresolved
FROM (
    SELECT store_id COLLATE "C", connection_id COLLATE "C", route COLLATE "C"
    FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (store_id, connection_id, route) ORDER BY 1, 2, 3
) AS asked
CROSS JOIN LATERAL (
    SELECT * FROM lanes
    WHERE lanes.store_id = asked.store_id AND lanes.connection_id = asked.connection_id AND lanes.route = asked.route
    FOR NO KEY UPDATE
) AS l

-- name: journals_of
-- After the lanes are locked, in a snapshot of its own: a gate that was shut before a lane could be locked is seen shut.
SELECT store_id, head, gate FROM journals WHERE store_id = ANY ($1::text[])

-- name: await_settles
-- A settle holds its lanes when it looks at the gate: whoever gets all lanes of a store after the gate is shut knows that
-- those which found it open are done.
SELECT route FROM lanes WHERE store_id = $1 ORDER BY connection_id, route FOR NO KEY UPDATE

-- name: held_named
SELECT h.store_id, h.connection_id, h.route, h.position, h.state
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS named (store_id, connection_id, route, position)
CROSS JOIN LATERAL (
    SELECT * FROM held
    WHERE held.store_id = named.store_id AND held.connection_id = named.connection_id AND held.route = named.route
        AND held.position = named.position
    OFFSET 0
) AS h

-- name: release_held
-- Run for each row, in one round trip: a join with an array could walk whole stores, and has no lateral form.
DELETE FROM held WHERE store_id = $1 AND connection_id = $2 AND route = $3 AND position = $4

-- name: put_held
INSERT INTO held (
    store_id, connection_id, route, position, state, not_before, attempts, key, reason, held_at, replay
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::integer[], $8::text[], $9::text[],
    $10::bigint[], $11::boolean[]
)
ON CONFLICT (store_id, connection_id, route, position) DO UPDATE SET
    state = excluded.state, not_before = excluded.not_before, attempts = excluded.attempts, key = excluded.key,
    reason = excluded.reason, held_at = excluded.held_at, replay = excluded.replay

-- name: add_attempts
INSERT INTO attempts (
    store_id, connection_id, route, seq, position, event_id, number, at, kind, code, took_ms, status, retry_after_ms,
    next, correlation_id, not_before
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::integer[], $8::bigint[],
    $9::text[], $10::text[], $11::bigint[], $12::integer[], $13::bigint[], $14::text[], $15::text[], $16::bigint[]
)

-- name: move_lanes
-- No indexed column changes: the new version stays on its page. The bounds always hold: the planner takes them for
-- a narrow range, expects one row, and looks it up by its whole key.
UPDATE lanes AS l SET cursor = new.cursor, delivered = new.delivered, superseded = new.superseded,
    filtered = new.filtered, expired = new.expired, erased = new.erased, skips = new.skips, attempts = new.attempts,
    unresolved = new.unresolved
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::text[], $11::bigint[], $12::integer[]
) AS new (
    store_id, connection_id, route, cursor, delivered, superseded, filtered, expired, erased, skips, attempts,
    unresolved
)
WHERE l.store_id = new.store_id AND l.connection_id = new.connection_id AND l.route = new.route
    AND new.cursor BETWEEN 0 AND 9223372036854775807

-- name: ledger_lanes
-- Read over all stores; every lane is asked for.
SELECT l.store_id, l.connection_id, l.route, l.start, l.cursor, l.open, l.delivered, l.superseded, l.filtered,
    l.expired, l.erased, l.replayed, l.skips, l.epoch, l.closed_head, l.attempts, l.unresolved, coalesce(j.head, 0)
FROM lanes AS l LEFT JOIN journals AS j ON j.store_id = l.store_id
ORDER BY l.store_id, l.connection_id, l.route

-- name: ledger_lanes_of
SELECT l.store_id, l.connection_id, l.route, l.start, l.cursor, l.open, l.delivered, l.superseded, l.filtered,
    l.expired, l.erased, l.replayed, l.skips, l.epoch, l.closed_head, l.attempts, l.unresolved, coalesce(j.head, 0)
FROM lanes AS l LEFT JOIN journals AS j ON j.store_id = l.store_id
WHERE l.store_id = $1 ORDER BY l.connection_id, l.route

-- name: see_stores
-- The same snapshot, with other stores in its scope.
SELECT set_config('crossdock.stores', $1, true)

-- name: held_counts
SELECT store_id, connection_id, route,
    count(*) FILTER (WHERE state <> 'parked'), count(*) FILTER (WHERE state = 'parked')
FROM held WHERE store_id = ANY ($1::text[]) GROUP BY store_id, connection_id, route

-- name: held_after
SELECT h.position, h.state, h.not_before, h.attempts, h.key, h.reason, h.held_at, h.replay,
    e.store_id, e.position, e.origin, e.event_id, e.type, e.schema_major, e.source, e.occurred_at, e.received_at,
    e.correlation_id, e.body, e.personal, e.subject_ref, e.traceparent, e.caused_by, e.hops
FROM held AS h
CROSS JOIN LATERAL (
    SELECT * FROM entries WHERE entries.store_id = h.store_id AND entries.position >= h.position
    ORDER BY entries.position LIMIT 1
) AS e
WHERE e.position = h.position AND h.store_id = $1 AND h.connection_id = $2 AND h.route = $3 AND h.position > $4
    AND ($5::text IS NULL OR h.state = $5)
ORDER BY h.position LIMIT $6

-- name: unresolved_after
-- Along held_unresolved: the parked rows before these are not read.
SELECT h.position, h.state, h.not_before, h.attempts, h.key, h.reason, h.held_at, h.replay,
    e.store_id, e.position, e.origin, e.event_id, e.type, e.schema_major, e.source, e.occurred_at, e.received_at,
    e.correlation_id, e.body, e.personal, e.subject_ref, e.traceparent, e.caused_by, e.hops
FROM held AS h
CROSS JOIN LATERAL (
    SELECT * FROM entries WHERE entries.store_id = h.store_id AND entries.position >= h.position
    ORDER BY entries.position LIMIT 1
) AS e
WHERE e.position = h.position AND h.store_id = $1 AND h.connection_id = $2 AND h.route = $3 AND h.position > $4
    AND h.state <> 'parked' AND h.state = $5
ORDER BY h.position LIMIT $6

-- name: attempts
SELECT position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, next, correlation_id, not_before
FROM attempts WHERE store_id = $1 AND connection_id = $2 AND route = $3 ORDER BY seq DESC LIMIT $4

-- name: attempts_at
SELECT position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, next, correlation_id, not_before
FROM attempts WHERE store_id = $1 AND connection_id = $2 AND route = $3 AND position BETWEEN $4 AND $4
ORDER BY position DESC, seq DESC LIMIT $5
