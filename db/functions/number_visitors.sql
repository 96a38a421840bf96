-- The numbers of all visitors of an hour of each of the given sites, from the users of the hour or, for one
-- that is settled, from its raw events. Whoever has no number gets one.
--
-- Returns for each site with visitors the numbers, in no order, and `names`: what settle compares with the
-- names that it finds itself, so that a set made of these numbers is kept only for the same visitors.
--
-- One transaction at a time gives numbers: they are dense, and `on conflict do nothing` would use one up for
-- each name that is there. Each visitor is looked for by index, however large the dictionary is.

create or replace function analytics.number_visitors(hour timestamptz, sites integer[], of_raw_events boolean)
returns table (site integer, numbers integer[], names bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_hashjoin = off set enable_mergejoin = off as $function$
declare
    seen text := case when of_raw_events
        then 'select distinct e.site, e.user_name from analytics.events as e where e.at >= $1 and e.at < $2 and e.site = any ($3)'
        else 'select u.site, u.user_name from analytics.hour_users as u where u.hour = $1 and u.site = any ($3)' end;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'number_visitors must run in a read committed transaction' using errcode = 'AN003';
    end if;
    perform pg_advisory_xact_lock(analytics.lock_class('visitors'), 0);
    -- One statement, so that each visitor is looked for once. The last numbers are read once, before the first row is inserted: whoever
    -- looked again would pass all rows that are there by then.
    return query execute format($$
        with seen as materialized (
            select s.site, s.user_name, v.number
            from (%s) as s left join analytics.visitors as v on v.site = s.site and v.name = s.user_name
        ), last as materialized (
            select g as site, coalesce((select max(v.number) from analytics.visitors as v where v.site = g), -1) as number
            from unnest($3) as g
        ), given as (
            insert into analytics.visitors (site, number, name)
            select s.site, l.number + row_number() over (partition by s.site order by s.user_name), s.user_name
            from seen as s join last as l on l.site = s.site
            where s.number is null
            returning site, number
        ), numbered as (
            select s.site, s.number from seen as s where s.number is not null union all select g.site, g.number from given as g
        )
        select n.site, n.numbers, m.names
        from (select n.site, array_agg(n.number) as numbers from numbered as n group by n.site) as n
        join (select s.site, bit_xor(hashtextextended(s.user_name, 0)) as names from seen as s group by s.site) as m on m.site = n.site
    $$, seen) using hour, hour + interval '1 hour', sites;
end
$function$;
