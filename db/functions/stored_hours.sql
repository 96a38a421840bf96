-- The first and the last hour of a site that have an event; null without one. Each is the end of an index, or
-- found among the rows of open hours.

create or replace function analytics.stored_hours(site integer)
returns table (first timestamptz, last timestamptz)
language sql stable as $$
    select
        least(
            (select min(s.hour) from analytics.settled_hours as s where s.site = stored_hours.site),
            (select min(c.hour) from analytics.hour_counts as c where c.site = stored_hours.site)),
        greatest(
            (select max(s.hour) from analytics.settled_hours as s where s.site = stored_hours.site),
            (select max(c.hour) from analytics.hour_counts as c where c.site = stored_hours.site))
$$;
