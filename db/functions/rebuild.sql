-- Makes users and counters of an hour of the given sites anew from its raw events, where that gives at
-- least so many users, clicks and impressions as stand beside the site. Returns these sites; for the
-- others nothing changes. A site without raw events has none afterwards.
--
-- The raw events are read by statements that are planned with the hour's value, so that only its own
-- partition or chunk is opened and locked.

create or replace function analytics.rebuild(
    hour timestamptz, sites integer[], least_users bigint[], least_clicks bigint[], least_impressions bigint[], writer bigint)
returns setof integer
language plpgsql as $function$
declare
    enough record;
begin
    execute $$
        select
            array_agg(s.site) as sites, array_agg(s.users) as users,
            array_agg(s.clicks) as clicks, array_agg(s.impressions) as impressions
        from (
            select
                l.site, count(r.user_name) as users,
                coalesce(sum(r.clicks), 0)::bigint as clicks, coalesce(sum(r.impressions), 0)::bigint as impressions
            from unnest($3, $4, $5, $6) as l (site, users, clicks, impressions)
            left join (
                select
                    e.site, e.user_name,
                    count(*) filter (where e.kind = 'click') as clicks,
                    count(*) filter (where e.kind = 'impression') as impressions
                from analytics.events as e
                where e.at >= $1 and e.at < $2 and e.site = any ($3)
                group by e.site, e.user_name
            ) as r on r.site = l.site
            group by l.site, l.users, l.clicks, l.impressions
            having count(r.user_name) >= l.users and coalesce(sum(r.clicks), 0) >= l.clicks
                and coalesce(sum(r.impressions), 0) >= l.impressions
        ) as s
    $$ into enough using hour, hour + interval '1 hour', sites, least_users, least_clicks, least_impressions;

    delete from analytics.hour_counts as c where c.hour = rebuild.hour and c.site = any (enough.sites);
    delete from analytics.hour_users as u where u.hour = rebuild.hour and u.site = any (enough.sites);
    execute $$
        insert into analytics.hour_users (hour, user_name, site)
        select distinct $1, e.user_name, e.site from analytics.events as e
        where e.at >= $1 and e.at < $2 and e.site = any ($3)
    $$ using hour, hour + interval '1 hour', enough.sites;
    insert into analytics.hour_counts (hour, site, writer, unique_users, clicks, impressions, written_at)
    select rebuild.hour, s.site, rebuild.writer, s.users, s.clicks, s.impressions, now()
    from unnest(enough.sites, enough.users, enough.clicks, enough.impressions) as s (site, users, clicks, impressions)
    where s.users > 0;
    return query select unnest(enough.sites);
end
$function$;
