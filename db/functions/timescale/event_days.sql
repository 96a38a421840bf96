-- The UTC days that can have raw events, by their first instants: what the catalog of chunks says,
-- without opening one.

create or replace function analytics.event_days() returns setof timestamptz
language sql stable as $$
    select distinct d.day
    from timescaledb_information.chunks as c,
        generate_series(
            date_bin(interval '24 hours', c.range_start, timestamptz 'epoch'),
            c.range_end - interval '1 microsecond',
            interval '24 hours') as d (day)
    where c.hypertable_schema = 'analytics' and c.hypertable_name = 'events'
$$;
