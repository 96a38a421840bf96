-- The first hour before an instant, of those whose raw events are kept, that has raw events of a site of
-- which it is neither open nor settled, because somebody deleted its counters by hand; null for none. It
-- must be repaired before its raw events go. Sites that are deleted are left out. Without sites most hours
-- are settled, so that few are looked into; with them the raw events tell which sites an hour has.

create or replace function analytics.first_uncounted_hour(instant timestamptz) returns timestamptz
language plpgsql as $function$
declare
    has_sites boolean := exists (select from analytics.sites);
    hour timestamptz;
    is_uncounted boolean;
begin
    for hour in
        select h from analytics.event_days() as d (day), generate_series(d.day, d.day + interval '23 hours', interval '1 hour') as h
        where d.day < instant and h >= (select s.accepts_from from analytics.settings as s)
            and (has_sites
                or not exists (select from analytics.settled_hours as s where s.site = 0 and s.hour = h)
                    and not exists (select from analytics.hour_counts as c where c.hour = h and c.site = 0))
        order by h
    loop
        execute $$
            select exists (
                select from (select distinct e.site from analytics.events as e where e.at >= $1 and e.at < $2) as e
                where not exists (select from analytics.settled_hours as s where s.site = e.site and s.hour = $1)
                    and not exists (select from analytics.sites as d where d.id = e.site and d.deleted_at is not null)
                    and not exists (select from analytics.hour_counts as c where c.hour = $1 and c.site = e.site))
        $$ into is_uncounted using hour, hour + interval '1 hour';
        if is_uncounted then
            return hour;
        end if;
    end loop;
    return null;
end
$function$;
