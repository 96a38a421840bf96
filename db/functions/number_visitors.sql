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
    execute format($$
        with new as materialized (
            select s.site, s.user_name from (%s) as s
            where not exists (select from analytics.visitors as v where v.site = s.site and v.name = s.user_name)
        )
        insert into analytics.visitors (site, number, name)
        select n.site, l.last + row_number() over (partition by n.site order by n.user_name), n.user_name
        from new as n
        join (
            select s, coalesce((select max(v.number) from analytics.visitors as v where v.site = s), -1) as last
            from unnest($3) as s
        ) as l on l.s = n.site
    $$, seen) using hour, hour + interval '1 hour', sites;
    return query execute format($$
        select s.site, array_agg(v.number), bit_xor(hashtextextended(s.user_name, 0))
        from (%s) as s join analytics.visitors as v on v.site = s.site and v.name = s.user_name
        group by s.site
    $$, seen) using hour, hour + interval '1 hour', sites;
end
$function$;
