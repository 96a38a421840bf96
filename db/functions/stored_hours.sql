-- The first and the last hour of a site that have an event; null without one. The open hours are found one
-- after the other, as in functions/hours.sql.

create or replace function analytics.stored_hours(site integer)
returns table (first timestamptz, last timestamptz)
language sql stable as $$
    with recursive open (hour) as (
        select min(c.hour) from analytics.hour_counts as c
        union all
        select (select min(c.hour) from analytics.hour_counts as c where c.hour > o.hour) from open as o where o.hour is not null
    ), of_site as (
        select min(o.hour) as first, max(o.hour) as last from open as o
        where exists (select from analytics.hour_counts as c where c.hour = o.hour and c.site = stored_hours.site)
    )
    select
        least(o.first, (select min(s.hour) from analytics.settled_hours as s where s.site = stored_hours.site)),
        greatest(o.last, (select max(s.hour) from analytics.settled_hours as s where s.site = stored_hours.site))
    from of_site as o
$$;
