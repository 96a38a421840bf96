-- The UTC days that can have raw events, by their first instants: what the names of the partitions say,
-- without opening one.

create or replace function analytics.event_days() returns setof timestamptz
language sql stable as $$
    select to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp at time zone 'UTC'
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'analytics.events'::regclass
$$;
