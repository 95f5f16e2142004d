-- Where each store is: the only table that knows of several cells. In a schema of its own, so that the directory may lie
-- in a database of its own or beside a cell's tables.
--
-- `epoch` counts the places that the store has had; its journal has the same at its home. `claimed` is the number of the
-- last move that was begun, so that of several only the latest can end.

CREATE TABLE crossdock_directory.cells_directory (
    store_id text COLLATE "C" NOT NULL,
    cell text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    claimed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (store_id),
    CHECK (epoch <= claimed)
);

-- Whoever looks a home up names its stores in `crossdock.stores`, and sees no other. Where the fewest stores are is
-- counted over all, by a transaction that names this table in `crossdock.scope`.
ALTER TABLE crossdock_directory.cells_directory ENABLE ROW LEVEL SECURITY;
ALTER TABLE crossdock_directory.cells_directory FORCE ROW LEVEL SECURITY;
CREATE POLICY own_stores ON crossdock_directory.cells_directory USING (
    store_id COLLATE "default" = ANY ((SELECT nullif(current_setting('crossdock.stores', true), '')::text[])::text[])
);
CREATE POLICY platform_reads ON crossdock_directory.cells_directory FOR SELECT USING (
    'cells_directory' = ANY ((SELECT nullif(current_setting('crossdock.scope', true), '')::text[])::text[])
);

CREATE INDEX cells_directory_by_cell ON crossdock_directory.cells_directory (cell);
