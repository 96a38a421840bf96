-- Sets of visitors that together are those of the settled hours of periods of a site, each from its first
-- hour up to but not including the hour behind it: of whole UTC days where they are united, and else of
-- hours. They come in the order of the periods. The set is null for an hour that was settled without one.
-- Each period is looked for by the index, because of `offset 0`: a plan for arrays that are not known yet would
-- hold all hours of the site against each period.

create or replace function analytics.visitor_sets(firsts timestamptz[], behinds timestamptz[], site integer)
returns table (period bigint, hour timestamptz, visitors bytea)
language sql stable as $$
    with periods as (
        select p.first, p.behind, p.period from unnest(firsts, behinds) with ordinality as p (first, behind, period)
    ), days as (
        select p.period, d.day, d.visitors
        from periods as p
        cross join lateral (
            select v.day, v.visitors from analytics.day_visitors as v
            where v.site = visitor_sets.site and v.day >= p.first and v.day <= p.behind - interval '24 hours'
                and v.visitors is not null
            offset 0
        ) as d
    )
    select d.period, d.day, d.visitors from days as d
    union all
    select p.period, s.hour, s.visitors
    from periods as p
    cross join lateral (
        select h.hour, h.visitors from analytics.settled_hours as h
        where h.site = visitor_sets.site and h.hour >= p.first and h.hour < p.behind
        offset 0
    ) as s
    where not exists (
        select from days as d where d.period = p.period and d.day = date_bin(interval '24 hours', s.hour, timestamptz 'epoch'))
    order by period
$$;
