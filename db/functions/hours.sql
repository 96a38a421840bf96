-- Every hour of a range that has counts, both ends included, ascending, and whether it is settled. Like
-- counts it never reads raw events, and is one statement. The range stands at each table, since the
-- planner does not carry it from one side of a join to the other.

create or replace function analytics.hours(first timestamptz, last timestamptz)
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint, settled boolean)
language sql stable as $$
    select c.hour, sum(c.unique_users)::bigint, sum(c.clicks)::bigint, sum(c.impressions)::bigint, false
    from analytics.hour_counts as c
    where c.hour >= first and c.hour <= last
    group by c.hour
    union all
    select s.hour, s.unique_users, s.clicks, s.impressions, true
    from analytics.settled_hours as s
    where s.hour >= first and s.hour <= last
    order by hour
$$;
