-- What the runtime role may do, and nothing else: it owns nothing, and row security binds it. In one transaction, so
-- that a process which serves meanwhile misses nothing.
REVOKE ALL ON SCHEMA crossdock FROM :role;
REVOKE ALL ON ALL TABLES IN SCHEMA crossdock FROM :role;
GRANT USAGE ON SCHEMA crossdock TO :role;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA crossdock TO :role;
REVOKE INSERT, UPDATE, DELETE ON crossdock.migrations FROM :role;
-- What is on record is not rewritten. (A store that has moved to another database takes its part along: DELETE stays.)
REVOKE UPDATE ON crossdock.audit FROM :role;
