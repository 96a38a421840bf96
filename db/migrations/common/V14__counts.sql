create function analytics.counts(hours timestamptz[])
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint)
language sql stable as $$
    select h.hour, coalesce(v.unique_users, 0), coalesce(v.clicks, 0), coalesce(v.impressions, 0)
    from unnest(hours) as h (hour) left join analytics.hourly as v on v.hour = h.hour
$$;
