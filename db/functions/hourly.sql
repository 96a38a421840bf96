-- The view for people, psql and Grafana: every hour that has an event, open or settled, always current.

create or replace view analytics.hourly as
select
    hour,
    sum(unique_users)::bigint as unique_users,
    sum(clicks)::bigint as clicks,
    sum(impressions)::bigint as impressions
from analytics.hour_counts
group by hour
union all
select hour, unique_users, clicks, impressions from analytics.settled_hours;
