-- Every hour of a range that has counts of a site, both ends included, ascending, and whether it is
-- settled. Like counts it never reads raw events, and is one statement. The open hours are found one
-- after the other, since their rows lie among those of all other sites.

create or replace function analytics.hours(first timestamptz, last timestamptz, site integer default 0)
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint, settled boolean)
language sql stable as $$
    with recursive open (hour) as (
        select min(c.hour) from analytics.hour_counts as c where c.hour >= first and c.hour <= last
        union all
        select (select min(c.hour) from analytics.hour_counts as c where c.hour > o.hour and c.hour <= last)
        from open as o where o.hour is not null
    )
    select o.hour, c.unique_users, c.clicks, c.impressions, false
    from open as o
    cross join lateral (
        select sum(r.unique_users)::bigint as unique_users, sum(r.clicks)::bigint as clicks, sum(r.impressions)::bigint as impressions
        from analytics.hour_counts as r where r.hour = o.hour and r.site = hours.site
        having count(*) > 0
    ) as c
    where o.hour is not null
    union all
    select s.hour, s.unique_users, s.clicks, s.impressions, true
    from analytics.settled_hours as s
    where s.site = hours.site and s.hour >= first and s.hour <= last
    order by hour
$$;
