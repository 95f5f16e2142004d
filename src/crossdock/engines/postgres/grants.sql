-- What the runtime role may do, and nothing else: it owns nothing, and row security binds it.
GRANT USAGE ON SCHEMA crossdock TO :role;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA crossdock TO :role;
REVOKE INSERT, UPDATE, DELETE ON crossdock.migrations FROM :role;
