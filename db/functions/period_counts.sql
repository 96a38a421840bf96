-- The clicks and impressions of periods of a site that follow one another, each from its first hour up to but
-- not including the hour behind it, and whether all its hours are settled. A row for each period with an event.
-- The unique users of its hours are added, so that they are those of a period of one hour.

create or replace function analytics.period_counts(firsts timestamptz[], behinds timestamptz[], site integer)
returns table (period bigint, unique_users bigint, clicks bigint, impressions bigint, settled boolean)
language sql stable as $$
    select
        width_bucket(h.hour, firsts)::bigint,
        sum(h.unique_users)::bigint, sum(h.clicks)::bigint, sum(h.impressions)::bigint, bool_and(h.settled)
    from analytics.hours(firsts[1], behinds[cardinality(behinds)] - interval '1 hour', period_counts.site) as h
    group by 1
$$;
