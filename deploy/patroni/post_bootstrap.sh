#!/bin/sh
# Patroni calls this once, on the first primary, with the superuser's connection string. It makes the two roles of
# Crossdock and its database. The passwords come from the environment, and pass through no command line.
set -eu
: "${DATABASE_OWNER_PASSWORD:?}" "${DATABASE_APP_PASSWORD:?}"

# There is no standby yet: a commit that waited for one would wait for ever.
PGOPTIONS='-c synchronous_commit=local -c log_min_error_statement=panic'
export PGOPTIONS
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$1" <<'SQL'
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD
CREATE ROLE crossdock_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE crossdock_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
CREATE DATABASE crossdock OWNER crossdock_owner ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE crossdock FROM PUBLIC;
GRANT CONNECT ON DATABASE crossdock TO crossdock_owner, crossdock_app;
SQL
