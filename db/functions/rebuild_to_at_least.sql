-- Replaces whatever is derived from the raw events of an hour of a site by what they say. Raises AN007, so
-- that nothing changes, if any number would be less than the least that is given: an acknowledged count
-- never falls, whatever happens to raw events, unless an operator accepts it.

create or replace function analytics.rebuild_to_at_least(
    hour timestamptz, site integer, writer bigint, least_users bigint, least_clicks bigint, least_impressions bigint)
returns void
language plpgsql as $function$
declare
    found_users bigint;
    found_clicks bigint;
    found_impressions bigint;
begin
    delete from analytics.settled_hours as s where s.site = rebuild_to_at_least.site and s.hour = rebuild_to_at_least.hour;
    perform analytics.change_day(rebuild_to_at_least.hour, array[rebuild_to_at_least.site]);
    perform analytics.rebuild(
        rebuild_to_at_least.hour, array[rebuild_to_at_least.site], array[least_users], array[least_clicks], array[least_impressions],
        rebuild_to_at_least.writer);
    if not found then
        execute $$
            select count(distinct e.user_name), count(*) filter (where e.kind = 'click'), count(*) filter (where e.kind = 'impression')
            from analytics.events as e where e.at >= $1 and e.at < $2 and e.site = $3
        $$ into found_users, found_clicks, found_impressions
        using rebuild_to_at_least.hour, rebuild_to_at_least.hour + interval '1 hour', rebuild_to_at_least.site;
        raise exception 'the raw events of the hour % are % unique users, % clicks and % impressions, which is less than the %, % and % that are answered',
            to_char(rebuild_to_at_least.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            found_users, found_clicks, found_impressions, least_users, least_clicks, least_impressions
            using errcode = 'AN007';
    end if;
end
$function$;
