-- What the runtime role may do, and nothing else: it owns nothing, and row security binds it. In one transaction, so
-- that a process which serves meanwhile misses nothing.
REVOKE ALL ON SCHEMA crossdock FROM :role;
REVOKE ALL ON ALL TABLES IN SCHEMA crossdock FROM :role;
GRANT USAGE ON SCHEMA crossdock TO :role;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA crossdock TO :role;
REVOKE INSERT, UPDATE, DELETE ON crossdock.migrations FROM :role;
-- What is on record is neither rewritten nor taken away: also where a store has moved on, its part of the log stays.
REVOKE UPDATE, DELETE ON crossdock.audit FROM :role;
