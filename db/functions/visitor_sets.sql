-- Sets of visitors that together are those of the settled hours of periods of a site, each from its first
-- hour up to but not including the hour behind it: of whole UTC days where they are united, and else of
-- hours. They come in the order of the periods. The set is null for an hour that was settled without one.

create or replace function analytics.visitor_sets(firsts timestamptz[], behinds timestamptz[], site integer)
returns table (period bigint, hour timestamptz, visitors bytea)
language sql stable as $$
    with periods as (
        select p.first, p.behind, p.period from unnest(firsts, behinds) with ordinality as p (first, behind, period)
    ), days as (
        select p.period, d.day, d.visitors
        from periods as p
        join analytics.day_visitors as d
            on d.site = visitor_sets.site and d.day >= p.first and d.day <= p.behind - interval '24 hours' and d.visitors is not null
    )
    select d.period, d.day, d.visitors from days as d
    union all
    select p.period, s.hour, s.visitors
    from periods as p
    join analytics.settled_hours as s on s.site = visitor_sets.site and s.hour >= p.first and s.hour < p.behind
    where not exists (
        select from days as d where d.period = p.period and d.day = date_bin(interval '24 hours', s.hour, timestamptz 'epoch'))
    order by period
$$;
