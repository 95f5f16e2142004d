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

CREATE INDEX cells_directory_by_cell ON crossdock_directory.cells_directory (cell);
