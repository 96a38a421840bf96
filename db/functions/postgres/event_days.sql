-- The UTC days that can have raw events, by their first instants: what the names of the partitions say,
-- without opening one. The partitions are found first: a condition of the caller's would else be tried on the
-- name of any table, which need not end with a day.

create or replace function analytics.event_days() returns setof timestamptz
language sql stable as $$
    with partitions as materialized (
        select c.relname as name
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'analytics.events'::regclass
    )
    select to_date(right(p.name, 8), 'YYYYMMDD')::timestamp at time zone 'UTC' from partitions as p
$$;
