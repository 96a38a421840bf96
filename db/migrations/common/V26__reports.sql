-- What reports ask for: ranges of hours. Like counts, each is one statement and so sees one instant.

-- Every hour of a range that has counts, both ends included, ascending, and whether it is settled. Never reads raw events.
-- The range stands at each table, since the planner does not carry it from one side of a join to the other.
create function analytics.hours(first timestamptz, last timestamptz)
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint, settled boolean)
language sql stable as $$
    select c.hour, sum(c.unique_users)::bigint, sum(c.clicks)::bigint, sum(c.impressions)::bigint, false
    from analytics.hour_counts as c
    where c.hour >= first and c.hour <= last
    group by c.hour
    union all
    select a.hour, a.unique_users, a.clicks, a.impressions, true
    from analytics.settled_hours as s join analytics.events_hourly as a on a.hour = s.hour
    where s.hour >= first and s.hour <= last and a.hour >= first and a.hour <= last
    order by hour
$$;

-- The distinct users of a range of hours, both ends included, counted from raw events; null where raw events of the range are no longer
-- kept. Planned with the values, so that only the partitions or chunks of the range are opened.
create function analytics.unique_users(first timestamptz, last timestamptz, out unique_users bigint, out kept_from timestamptz)
language plpgsql stable as $function$
begin
    select s.accepts_from into kept_from from analytics.settings as s;
    if first < kept_from and exists (select from analytics.hours(first, last) as h where h.hour < kept_from) then
        return;
    end if;
    execute 'select count(distinct e.user_name) from analytics.events as e where e.at >= $1 and e.at < $2'
        into unique_users using first, last + interval '1 hour';
end
$function$;
