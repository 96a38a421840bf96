-- Replaces whatever is derived from an hour's raw events by what they say. Raises AN007, so that nothing
-- changes, if any number would be less than the least that is given: an acknowledged count never falls,
-- whatever happens to raw events, unless an operator accepts it.

create or replace function analytics.rebuild_to_at_least(
    hour timestamptz, writer bigint, least_users bigint, least_clicks bigint, least_impressions bigint)
returns void
language plpgsql as $$
declare
    found_users bigint;
    found_clicks bigint;
    found_impressions bigint;
begin
    delete from analytics.settled_hours as s where s.hour = rebuild_to_at_least.hour;
    delete from analytics.hour_counts as c where c.hour = rebuild_to_at_least.hour;
    delete from analytics.hour_users as u where u.hour = rebuild_to_at_least.hour;
    perform analytics.rebuild(rebuild_to_at_least.hour, rebuild_to_at_least.writer);

    select a.unique_users, a.clicks, a.impressions into found_users, found_clicks, found_impressions
    from analytics.answer(rebuild_to_at_least.hour) as a;
    if found_users < least_users or found_clicks < least_clicks or found_impressions < least_impressions then
        raise exception 'the raw events of the hour % are % unique users, % clicks and % impressions, which is less than the %, % and % that are answered',
            to_char(rebuild_to_at_least.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            found_users, found_clicks, found_impressions, least_users, least_clicks, least_impressions
            using errcode = 'AN007';
    end if;
end
$$;
