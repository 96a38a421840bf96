-- Lets ingest see without a call whether the chunk of an hour is there: part of the expression that calls
-- it, as in the other flavour.

create or replace function analytics.has_room(hour timestamptz) returns boolean
language sql stable as $$ select to_regclass(analytics.chunk_of(hour)) is not null or analytics.has_chunk(hour) $$;
