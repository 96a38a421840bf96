-- The visitors of the open hours of periods of a site, each from its first hour up to but not including the
-- hour behind it: the numbers of those who have one, in no order, in a row for each period and open hour of
-- it, and in a row for each period how many have none. It names nobody.

create or replace function analytics.open_visitors(firsts timestamptz[], behinds timestamptz[], site integer)
returns table (period bigint, numbers integer[], unnumbered bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with seen as materialized (
        -- Each is looked for once for all periods, and nobody of an hour before or behind them.
        select u.hour, u.user_name, v.number
        from analytics.hour_users as u
        left join lateral (
            select v.number from analytics.visitors as v where v.site = open_visitors.site and v.name = u.user_name limit 1
        ) as v on true
        where u.site = open_visitors.site
            and u.hour >= (select min(f) from unnest(firsts) as f) and u.hour < (select max(b) from unnest(behinds) as b)
    ), hours as materialized (
        select s.hour, array_agg(s.number) filter (where s.number is not null) as numbers from seen as s group by s.hour
    ), of_periods as materialized (
        -- The hours are few. Without this step each period would be held against each visitor.
        select p.period, h.hour, h.numbers
        from unnest(firsts, behinds) with ordinality as p (first, behind, period)
        join hours as h on h.hour >= p.first and h.hour < p.behind
    )
    select o.period, o.numbers, 0 from of_periods as o where o.numbers is not null
    union all
    select o.period, null, count(distinct s.user_name)
    from of_periods as o join seen as s on s.hour = o.hour and s.number is null
    group by o.period
$$;
