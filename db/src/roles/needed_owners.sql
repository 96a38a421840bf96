-- The statements that are still needed for everything in the schema to belong to whom it should, in the order in which they are to be run. No row:
-- it does. The roles must be there.
--
-- $1: whether the schema has TimescaleDB.
--
-- Each is a transaction of its own, so that the locks of one are gone before the next waits for its own. The owner first gets every right, so that
-- its functions and views go on at each step. Who owned it acts for the owner (see needed_roles.sql), and so may do what it could before.

with relations as (
    select
        c.relkind, c.relowner, format('analytics.%I', c.relname) as name,
        case when $1 and c.relname = 'events_hourly' then 'analytics_refresher' else 'analytics_owner' end::regrole::oid as rightful
    from pg_class as c
    where c.relnamespace = to_regnamespace('analytics') and c.relkind in ('r', 'p', 'v', 'm')
)
select statement from (
    select 1.0 as n, 'alter schema analytics owner to analytics_owner' as statement
    from pg_namespace as s where s.nspname = 'analytics' and s.nspowner <> 'analytics_owner'::regrole
    union all
    select 2, format('grant all on table %s to analytics_owner', r.name)
    from relations as r
    where r.relowner <> 'analytics_owner'::regrole and exists (select from relations as o where o.relowner <> o.rightful)
    union all
    select 3 + s.n / 10.0, s.statement
    from relations as r, unnest(array[
        'grant select on table analytics.events to analytics_refresher',
        -- Whoever is to own something must be allowed to make it where it is.
        'grant usage, create on schema analytics to analytics_refresher',
        format('alter materialized view %s owner to analytics_refresher', r.name)
    ]) with ordinality as s (statement, n)
    where r.relowner <> r.rightful and r.rightful <> 'analytics_owner'::regrole
    union all
    select case when r.relkind = 'v' then 5 else 4 end, format('alter table %s owner to analytics_owner', r.name)
    from relations as r where r.relowner <> r.rightful and r.rightful = 'analytics_owner'::regrole
    union all
    select 6, format('alter type analytics.%I owner to analytics_owner', t.typname)
    from pg_type as t
    where t.typnamespace = to_regnamespace('analytics') and t.typtype in ('e', 'd') and t.typowner <> 'analytics_owner'::regrole
    union all
    select 7, format('alter routine analytics.%I(%s) owner to analytics_owner', p.proname, pg_get_function_identity_arguments(p.oid))
    from pg_proc as p where p.pronamespace = to_regnamespace('analytics') and p.proowner <> 'analytics_owner'::regrole
) as needed
order by n, statement
