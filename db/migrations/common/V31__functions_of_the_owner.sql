-- What writes, and what reads raw events, runs with the rights of its owner, so that the daemon's own login needs none on the tables; see
-- `db/src/roles`, which says who may call what.
--
-- Each has a search path in which nobody but a superuser can make anything, with temporary objects last: otherwise whoever calls it could put a
-- type or a table of their own before the real one. That takes 1.3 µs a call. `counts`, `hours` and what is called within expressions stay as they
-- are, since only such functions become part of the statement that calls them; they read tables that their callers may read.
--
-- Signatures stay, and who owns the schema may do all this anyway, so daemons of the version before go on meanwhile.

alter function analytics.ingest(
    bigint, bigint, bigint, timestamptz[], text[], boolean[], timestamptz[], bigint[], bigint[], timestamptz[], text[])
    security definer set search_path = pg_catalog, pg_temp;
alter function analytics.ingest_once(
    bigint, bigint, bigint, timestamptz[], text[], boolean[], timestamptz[], bigint[], bigint[], timestamptz[], text[],
    timestamptz[], text[], bytea[], text, bigint, bigint)
    security definer set search_path = pg_catalog, pg_temp;
alter function analytics.advance_spool(text, bigint, bigint) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.register_writer() security definer set search_path = pg_catalog, pg_temp;
alter function analytics.fence_writer(bigint) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.forget_idle_writers() security definer set search_path = pg_catalog, pg_temp;
alter function analytics.make_room(timestamptz[]) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.settle(timestamptz) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.reopen(timestamptz, bigint) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.advance_retention() security definer set search_path = pg_catalog, pg_temp;
alter function analytics.forget_expired_keys() security definer set search_path = pg_catalog, pg_temp;
alter function analytics.unique_users(timestamptz, timestamptz) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.audited_parts(timestamptz, timestamptz) security definer set search_path = pg_catalog, pg_temp;
alter function analytics.audit(timestamptz, timestamptz) security definer set search_path = pg_catalog, pg_temp;
