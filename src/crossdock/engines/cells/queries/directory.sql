-- The directory of cells.

-- name: homes
SELECT store_id, cell, epoch FROM crossdock_directory.cells_directory WHERE store_id = ANY ($1::text[])

-- name: homes_after
-- Read over all stores; every home is asked for, by pages.
SELECT store_id, cell, epoch FROM crossdock_directory.cells_directory WHERE store_id > $1 ORDER BY store_id LIMIT $2

-- name: emptiest
-- Read over all stores: where the fewest are, of the cells that are named.
SELECT one.cell FROM unnest($1::text[]) WITH ORDINALITY AS one (cell, at)
ORDER BY (SELECT count(*) FROM crossdock_directory.cells_directory AS d WHERE d.cell = one.cell), one.at LIMIT 1

-- name: place
INSERT INTO crossdock_directory.cells_directory (store_id, cell) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: adopt
-- A store that was there before the directory.
INSERT INTO crossdock_directory.cells_directory (store_id, cell, epoch, claimed)
SELECT one.store_id, $1, one.epoch, one.epoch FROM unnest($2::text[], $3::bigint[]) AS one (store_id, epoch)
ON CONFLICT DO NOTHING

-- name: claim
UPDATE crossdock_directory.cells_directory SET claimed = claimed + 1 WHERE store_id = $1 RETURNING claimed

-- name: settle
-- The one step that moves a store: whoever claimed last, and found it where it still is.
UPDATE crossdock_directory.cells_directory SET cell = $3, epoch = $4
WHERE store_id = $1 AND cell = $2 AND claimed = $4 AND epoch < $4
