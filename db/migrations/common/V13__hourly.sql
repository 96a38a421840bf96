-- The view for people: every hour that has an event, open or settled, always current. For psql, Grafana and reports.

create view analytics.hourly as
select
    hour,
    sum(unique_users)::bigint as unique_users,
    sum(clicks)::bigint as clicks,
    sum(impressions)::bigint as impressions
from analytics.hour_counts
group by hour
union all
select hour, a.unique_users, a.clicks, a.impressions
from analytics.settled_hours join analytics.events_hourly as a using (hour);
