-- A store's share of senders when they are scarce.
ALTER TABLE stores ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 16);
