"""A store's rows as freight: read from one database, written to another, and proved equal."""
