-- The statements that are still needed for everything in the schema to belong to whom it should, in the order in which they are to be run. No row:
-- it does. The owners must be there.
--
-- $1: whether the schema has TimescaleDB; $2: whose everything is to be, as SQL names it; $3: the same of the aggregate.
--
-- Each is a transaction of its own, so that the locks of one are gone before the next waits for its own. The owner first gets every right, so that
-- its functions and views go on at each step. Who owned it acts for the owner (see needed_roles.sql), and so may do what it could before.

with owners (everything, aggregate) as (
    select to_regrole($2)::oid, to_regrole($3)::oid
), relations as (
    select
        c.relkind, c.relowner, format('analytics.%I', c.relname) as name,
        case when $1 and c.relname = 'events_hourly' then o.aggregate else o.everything end as rightful,
        $1 and c.relname = 'events_hourly' as is_aggregate
    from pg_class as c, owners as o
    where c.relnamespace = to_regnamespace('analytics') and c.relkind in ('r', 'p', 'v', 'm')
)
select statement from (
    select 1.0 as n, format('alter schema analytics owner to %s', $2) as statement
    from pg_namespace as s, owners as o where s.nspname = 'analytics' and s.nspowner <> o.everything
    union all
    select 2, format('grant all on table %s to %s', r.name, $2)
    from relations as r, owners as o
    where r.relowner <> o.everything and exists (select from relations as w where w.relowner <> w.rightful)
    union all
    select 3 + s.n / 10.0, s.statement
    from relations as r, unnest(array[
        format('grant select on table analytics.events to %s', $3),
        -- Whoever is to own something must be allowed to make it where it is.
        format('grant usage, create on schema analytics to %s', $3)
    ]) with ordinality as s (statement, n)
    where r.is_aggregate and r.relowner <> r.rightful and $3 <> $2
    union all
    select 3.3, format('alter materialized view %s owner to %s', r.name, $3)
    from relations as r where r.is_aggregate and r.relowner <> r.rightful
    union all
    select case when r.relkind = 'v' then 5 else 4 end, format('alter table %s owner to %s', r.name, $2)
    from relations as r where not r.is_aggregate and r.relowner <> r.rightful
    union all
    select 6, format('alter type analytics.%I owner to %s', t.typname, $2)
    from pg_type as t, owners as o
    where t.typnamespace = to_regnamespace('analytics') and t.typtype in ('e', 'd') and t.typowner <> o.everything
    union all
    select 7, format('alter routine analytics.%I(%s) owner to %s', p.proname, pg_get_function_identity_arguments(p.oid), $2)
    from pg_proc as p, owners as o where p.pronamespace = to_regnamespace('analytics') and p.proowner <> o.everything
) as needed
order by n, statement
