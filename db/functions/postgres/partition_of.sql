-- The name of the partition that holds an hour, without its schema: events_20150517.

create or replace function analytics.partition_of(hour timestamptz) returns text
language sql stable as $$ select 'events_' || to_char(hour at time zone 'UTC', 'YYYYMMDD') $$;
