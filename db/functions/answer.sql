-- The counts that are answered for an hour of a site; zeros if there are none. If an hour is open and
-- settled at once, which no function makes, the greater numbers.

create or replace function analytics.answer(hour timestamptz, site integer, out unique_users bigint, out clicks bigint, out impressions bigint)
language sql stable as $$
    select greatest(c.unique_users, s.unique_users), greatest(c.clicks, s.clicks), greatest(c.impressions, s.impressions)
    from (
        select
            coalesce(sum(o.unique_users), 0)::bigint as unique_users,
            coalesce(sum(o.clicks), 0)::bigint as clicks,
            coalesce(sum(o.impressions), 0)::bigint as impressions
        from analytics.hour_counts as o where o.hour = answer.hour and o.site = answer.site
    ) as c, (
        select
            coalesce(max(o.unique_users), 0) as unique_users,
            coalesce(max(o.clicks), 0) as clicks,
            coalesce(max(o.impressions), 0) as impressions
        from analytics.settled_hours as o where o.hour = answer.hour and o.site = answer.site
    ) as s
$$;
