-- The counts of whole hours, computed from the raw events by the settler.

create table analytics.events_hourly (
    hour timestamptz primary key,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null
);

-- Computes one hour anew.
create procedure analytics.refresh_hour(hour timestamptz)
language sql as $$
    insert into analytics.events_hourly as kept (hour, unique_users, clicks, impressions)
    select
        refresh_hour.hour,
        count(distinct e.user_name),
        count(*) filter (where e.kind = 'click'),
        count(*) filter (where e.kind = 'impression')
    from analytics.events e
    where e.at >= refresh_hour.hour and e.at < refresh_hour.hour + interval '1 hour'
    on conflict on constraint events_hourly_pkey do update set
        unique_users = excluded.unique_users, clicks = excluded.clicks, impressions = excluded.impressions;
$$;
