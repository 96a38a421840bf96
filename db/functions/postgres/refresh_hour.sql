-- Computes one hour of `events_hourly` anew, for all sites. Planned with the hour's value, so that only
-- the one partition is opened and locked: a plan for any hour would lock them all, and some thousands of
-- days are more than the server's table of locks holds.

create or replace procedure analytics.refresh_hour(hour timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $procedure$
begin
    delete from analytics.events_hourly as a where a.hour = refresh_hour.hour;
    execute $$
        insert into analytics.events_hourly (hour, site, unique_users, clicks, impressions)
        select
            $1,
            e.site,
            count(distinct e.user_name),
            count(*) filter (where e.kind = 'click'),
            count(*) filter (where e.kind = 'impression')
        from analytics.events as e
        where e.at >= $1 and e.at < $2
        group by e.site
    $$ using hour, hour + interval '1 hour';
end
$procedure$;
