-- What a copy asks of PostgreSQL beside the rows of the tables (`statements.py`).

-- name: every_store
SELECT store_id FROM stores ORDER BY store_id

-- name: journals_row
SELECT head, gate, epoch FROM journals WHERE store_id = $1

-- name: begin
-- A later copy takes over from an earlier one, never the other way round; a store that serves is not overwritten.
INSERT INTO journals AS j (store_id, gate, epoch) VALUES ($1, 'shut', $2)
ON CONFLICT (store_id) DO UPDATE SET gate = 'shut', epoch = excluded.epoch
WHERE j.epoch < excluded.epoch OR (j.epoch = excluded.epoch AND j.gate = 'shut')
RETURNING store_id

-- name: hold_journal
SELECT store_id FROM journals WHERE store_id = $1 AND gate = 'shut' AND epoch = $2 FOR NO KEY UPDATE

-- name: arrive_journal
UPDATE journals SET head = $2,
    conflicts = coalesce((SELECT c.seq FROM conflicts AS c WHERE c.store_id = $1 ORDER BY c.seq DESC LIMIT 1), 0)
WHERE store_id = $1

-- name: arrive_lanes
UPDATE lanes AS l SET unresolved = (
    SELECT count(*) FROM held AS h
    WHERE h.store_id = l.store_id AND h.connection_id = l.connection_id AND h.route = l.route AND h.state <> 'parked'
)
WHERE l.store_id = $1

-- name: open_gate
-- It counts as a move: lanes that waited at the gate are looked at.
UPDATE journals SET gate = 'open', moved_at = greatest(moved_at, extract(epoch FROM clock_timestamp())::bigint)
WHERE store_id = $1 AND epoch = $2 RETURNING store_id

-- name: reopen_gate
UPDATE journals SET gate = 'open', epoch = $2,
    moved_at = greatest(moved_at, extract(epoch FROM clock_timestamp())::bigint)
WHERE store_id = $1 AND epoch <= $2 RETURNING store_id

-- name: cry_open
SELECT pg_notify('crossdock', $1)

-- name: close_gate
INSERT INTO journals AS j (store_id, gate, epoch) VALUES ($1, $2, $3)
ON CONFLICT (store_id) DO UPDATE SET gate = excluded.gate, epoch = excluded.epoch WHERE j.epoch <= excluded.epoch
RETURNING store_id

-- name: await_turns
-- A settle holds its lanes when it looks at the gate.
SELECT route FROM lanes WHERE store_id = $1 ORDER BY connection_id, route FOR NO KEY UPDATE

-- name: await_changes
-- A change of the control plane shares this row when it looks at the gate.
SELECT store_id FROM journals WHERE store_id = $1 FOR UPDATE

-- name: log_end
SELECT (SELECT audit_seq FROM installation WHERE id = 1),
    coalesce((SELECT seq FROM audit ORDER BY seq DESC LIMIT 1), 0)

-- name: number_on
UPDATE installation SET audit_seq = greatest(audit_seq, $1) WHERE id = 1

-- name: take_numbers
UPDATE installation SET audit_seq = audit_seq + $1 WHERE id = 1 RETURNING audit_seq - $1
