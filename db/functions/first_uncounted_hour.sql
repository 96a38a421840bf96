-- The first hour before an instant that has raw events and is neither open nor settled, because somebody
-- deleted its counters by hand; null for none. It must be repaired before its raw events go. Most hours
-- are settled, so that few are looked into.

create or replace function analytics.first_uncounted_hour(instant timestamptz) returns timestamptz
language plpgsql as $function$
declare
    hour timestamptz;
    has_events boolean;
begin
    for hour in
        select h from analytics.event_days() as d (day), generate_series(d.day, d.day + interval '23 hours', interval '1 hour') as h
        where d.day < instant
            and not exists (select from analytics.settled_hours as s where s.hour = h)
            and not exists (select from analytics.hour_counts as c where c.hour = h)
        order by h
    loop
        execute 'select exists (select from analytics.events as e where e.at >= $1 and e.at < $2)'
            into has_events using hour, hour + interval '1 hour';
        if has_events then
            return hour;
        end if;
    end loop;
    return null;
end
$function$;
