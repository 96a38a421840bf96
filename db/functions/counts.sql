-- The exact counts of the given hours of sites, a row for each, in the order given; zeros for an hour
-- without events. It never reads raw events, so it costs the same however many an hour holds. It is one
-- statement and so sees one instant: it sees an hour that is settled or reopened meanwhile either before
-- or after, never in between.
--
-- Nor does it cost more while a session holds a snapshot, which keeps old versions of rows: it looks for
-- each later row by itself (see later_part), and for first rows, which have few versions then.

create or replace function analytics.counts(hours timestamptz[], sites integer[])
returns table (hour timestamptz, site integer, unique_users bigint, clicks bigint, impressions bigint)
language sql stable as $$
    select h.hour, coalesce(h.site, 0), coalesce(v.unique_users, 0), coalesce(v.clicks, 0), coalesce(v.impressions, 0)
    from unnest(hours, sites) with ordinality as h (hour, site, n)
    left join lateral (
        select
            sum(c.unique_users + coalesce(l.unique_users, 0))::bigint as unique_users,
            sum(c.clicks + coalesce(l.clicks, 0))::bigint as clicks,
            sum(c.impressions + coalesce(l.impressions, 0))::bigint as impressions
        from analytics.hour_counts as c
        -- The limit keeps the function from being called for the others too.
        left join lateral (select * from analytics.later_counts(c.hour, c.site, c.writer) where c.has_later limit 1) as l on true
        where c.hour = h.hour and c.site = coalesce(h.site, 0) and not c.is_later
        having count(*) > 0
        union all
        select s.unique_users, s.clicks, s.impressions from analytics.settled_hours as s
        where s.site = coalesce(h.site, 0) and s.hour = h.hour
    ) as v on true
    order by h.n
$$;
