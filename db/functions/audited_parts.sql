-- The span from one hour to another, both included, in parts of one UTC day at most: those that can have
-- anything to audit.

create or replace function analytics.audited_parts(earliest timestamptz, latest timestamptz)
returns table (first_hour timestamptz, last_hour timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select greatest(d.day, earliest), least(d.day + interval '23 hours', latest)
    from (
        select analytics.event_days()
        union
        select date_bin(interval '24 hours', c.hour, timestamptz 'epoch') from analytics.hour_counts as c
        where c.hour between earliest and latest
        union
        select date_bin(interval '24 hours', u.hour, timestamptz 'epoch') from analytics.hour_users as u
        where u.hour between earliest and latest
        union
        select date_bin(interval '24 hours', s.hour, timestamptz 'epoch') from analytics.settled_hours as s
        where s.hour between earliest and latest
    ) as d (day)
    where d.day between date_bin(interval '24 hours', earliest, timestamptz 'epoch') and latest
    order by 1
$$;
