-- Leased slots. Members and slots hold no store's data. A lease that would last longer than any can was given by a clock
-- that has been set back since, or is another server's: it counts as lapsed.

-- name: join
INSERT INTO members (member, until) VALUES ($1, clock_timestamp() + $2::bigint * interval '1 millisecond')
ON CONFLICT (member) DO UPDATE SET until = excluded.until

-- name: living
SELECT member FROM members WHERE member = $1 AND until > clock_timestamp() FOR NO KEY UPDATE

-- name: lapsed
-- Who is just beating holds its own row, and is passed over.
SELECT member FROM members
WHERE until <= clock_timestamp() OR until > clock_timestamp() + $1::bigint * interval '1 millisecond'
ORDER BY member FOR NO KEY UPDATE SKIP LOCKED

-- name: forget
-- A member that owns slots stays until they are taken.
DELETE FROM members AS m WHERE m.member = ANY ($1::text[])
    AND NOT EXISTS (SELECT FROM slots AS s WHERE s.owner = m.member)

-- name: standing
SELECT living.members, living.rank, living.lapse_ms, s.slot, s.epoch
FROM (
    SELECT count(*) AS members, count(*) FILTER (WHERE member < $1) AS rank,
        ceil(extract(epoch FROM min(until) FILTER (WHERE member <> $1) - clock_timestamp()) * 1000)::bigint AS lapse_ms
    FROM members
    WHERE until > clock_timestamp() AND until <= clock_timestamp() + $2::bigint * interval '1 millisecond'
) AS living LEFT JOIN slots AS s ON s.owner = $1 ORDER BY s.slot

-- name: claim
-- A slot under which something is being settled right now is locked, and comes with a later claim.
WITH free AS MATERIALIZED (
    SELECT slot FROM slots WHERE owner IS NULL OR owner = ANY ($2::text[])
    ORDER BY slot LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE slots AS s SET owner = $1, epoch = s.epoch + 1 FROM free WHERE s.slot = free.slot RETURNING s.slot, s.epoch

-- name: release_slots
-- In the order in which settles share them.
WITH mine AS MATERIALIZED (
    SELECT slot FROM slots WHERE owner = $1 AND slot = ANY ($2::integer[]) ORDER BY slot FOR NO KEY UPDATE
)
UPDATE slots AS s SET owner = NULL FROM mine WHERE s.slot = mine.slot

-- name: leave
DELETE FROM members WHERE member = $1
