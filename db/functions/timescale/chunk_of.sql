-- The name of the chunk that holds an hour, where make_room made it. A name is found in a microsecond; a
-- query, such as has_chunk, takes twenty times as long, and ingest asks this with every batch.

create or replace function analytics.chunk_of(hour timestamptz) returns text
language sql stable as $$ select '_timescaledb_internal.analytics_events_' || to_char(hour at time zone 'UTC', 'YYYYMMDD') $$;
