-- The view for people, psql and Grafana: every hour of every site that has an event, open or settled,
-- always current. The site without a name is ''. A deleted site is not shown. Each kind of site has a
-- branch of its own, so that a name leads to the rows of its site alone.

create or replace view analytics.hourly as
select
    c.hour,
    sum(c.unique_users)::bigint as unique_users,
    sum(c.clicks)::bigint as clicks,
    sum(c.impressions)::bigint as impressions,
    ''::text collate "C" as site
from analytics.hour_counts as c
where c.site = 0
group by c.hour
union all
select s.hour, s.unique_users, s.clicks, s.impressions, ''
from analytics.settled_hours as s
where s.site = 0
union all
select c.hour, sum(c.unique_users)::bigint, sum(c.clicks)::bigint, sum(c.impressions)::bigint, n.name
from analytics.sites as n
join analytics.hour_counts as c on c.site = n.id
where n.deleted_at is null
group by c.hour, n.id
union all
select s.hour, s.unique_users, s.clicks, s.impressions, n.name
from analytics.sites as n
join analytics.settled_hours as s on s.site = n.id
where n.deleted_at is null;
