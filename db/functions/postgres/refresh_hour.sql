-- Computes one hour of `events_hourly` anew. Planned with the hour's value, so that only the one
-- partition is opened and locked: a plan for any hour would lock them all, and some thousands of days are
-- more than the server's table of locks holds.

create or replace procedure analytics.refresh_hour(hour timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $procedure$
begin
    execute $$
    insert into analytics.events_hourly as kept (hour, unique_users, clicks, impressions)
    select
        $1,
        count(distinct e.user_name),
        count(*) filter (where e.kind = 'click'),
        count(*) filter (where e.kind = 'impression')
    from analytics.events e
    where e.at >= $1 and e.at < $2
    on conflict on constraint events_hourly_pkey do update set
        unique_users = excluded.unique_users, clicks = excluded.clicks, impressions = excluded.impressions
    $$ using hour, hour + interval '1 hour';
end
$procedure$;
