-- The visitors of the open hours of periods of a site, each from its first hour up to but not including the
-- hour behind it: the numbers of those who have one, in no order, and how many have none. A row for each
-- period with open hours. It names nobody.

create or replace function analytics.open_visitors(firsts timestamptz[], behinds timestamptz[], site integer)
returns table (period bigint, numbers integer[], unnumbered bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off as $$
    select
        p.period,
        array_agg(v.number) filter (where v.number is not null),
        count(distinct u.user_name) filter (where v.number is null)
    from unnest(firsts, behinds) with ordinality as p (first, behind, period)
    join analytics.hour_users as u on u.hour >= p.first and u.hour < p.behind and u.site = open_visitors.site
    left join analytics.visitors as v on v.site = u.site and v.name = u.user_name
    group by p.period
$$;
