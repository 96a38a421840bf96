-- The exact counts of the given hours, a row for each, in the order given; zeros for an hour without
-- events. It never reads raw events, so it costs the same however many an hour holds. It is one
-- statement and so sees one instant: it sees an hour that is settled or reopened meanwhile either before
-- or after, never in between.

create or replace function analytics.counts(hours timestamptz[])
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint)
language sql stable as $$
    select h.hour, coalesce(v.unique_users, 0), coalesce(v.clicks, 0), coalesce(v.impressions, 0)
    from unnest(hours) with ordinality as h (hour, n) left join analytics.hourly as v on v.hour = h.hour
    order by h.n
$$;
