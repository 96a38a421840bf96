-- Which of these hours of sites take no events: `settled` must be reopened first; `expired` never take any
-- again, because their raw events are due to be deleted, gone, or known to be incomplete. Each with its
-- sites beside it. `deleted` are the sites that never take any again. Null for none. The answer holds for
-- hours whose locks the caller holds.

create or replace function analytics.blocked(
    hours timestamptz[], sites integer[],
    out settled timestamptz[], out settled_sites integer[], out expired timestamptz[], out expired_sites integer[], out deleted integer[])
language sql stable as $$
    select
        array_agg(b.hour) filter (where not b.is_expired), array_agg(b.site) filter (where not b.is_expired),
        array_agg(b.hour) filter (where b.is_expired), array_agg(b.site) filter (where b.is_expired),
        (select array_agg(d.id) from analytics.sites as d where d.deleted_at is not null and d.id = any (sites))
    from (
        select
            h.hour, coalesce(h.site, 0) as site, z.hour is not null as is_settled,
            h.hour < greatest(s.accepts_from, s.due_before) or z.events_missing_since is not null as is_expired
        from unnest(hours, sites) as h (hour, site)
        cross join analytics.settings as s
        left join analytics.settled_hours as z on z.site = coalesce(h.site, 0) and z.hour = h.hour
    ) as b
    where b.is_settled or b.is_expired
$$;
