-- The statements that are still needed for each role to have its rights in the schema and no others, and for everybody else to have none, in the
-- order in which they are to be run. No row: all is as it should be. The roles must be there, or not be used: then they are to have none. Rights that
-- somebody gave to another role stay.
--
-- $1: whether the schema has TimescaleDB; $2: the functions that only the daemon may call; $3: those that readers may call too;
-- $4, $5: the relations that the daemon and readers may read; $6, $7: the columns of `settings` that the daemon and readers may read; $8: whether the roles are used.

with relations as (
    select c.relname, c.relowner, c.relacl from pg_class as c
    where c.relnamespace = to_regnamespace('analytics') and c.relkind in ('r', 'p', 'v', 'm', 'S')
), routines as (
    select p.proname, p.proowner, p.proacl, format('analytics.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) as name
    from pg_proc as p where p.pronamespace = to_regnamespace('analytics')
), present (kind, name, grantee, privilege) as (
    select 'schema', n.nspname::text, a.grantee, a.privilege_type
    from pg_namespace as n, aclexplode(n.nspacl) as a where n.nspname = 'analytics' and a.grantee <> n.nspowner
    union all
    select 'table', format('analytics.%I', r.relname), a.grantee, a.privilege_type
    from relations as r, aclexplode(r.relacl) as a where a.grantee <> r.relowner
    union all
    select 'routine', r.name, a.grantee, a.privilege_type
    -- Without a list of rights everybody may call it.
    from routines as r, aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) as a where a.grantee <> r.proowner
    union all
    select 'column', c.attname::text, a.grantee, a.privilege_type
    from pg_attribute as c, aclexplode(c.attacl) as a where c.attrelid = to_regclass('analytics.settings') and not c.attisdropped
), wanted (kind, name, grantee, privilege) as (
    select 'schema', 'analytics', to_regrole(w.grantee)::oid, 'USAGE'
    from (values ('analytics_daemon', true), ('analytics_reader', true), ('analytics_refresher', $1)) as w (grantee, is_there) where w.is_there
    union all
    select 'table', format('analytics.%I', w.name), to_regrole(w.grantee), 'SELECT'
    from (
        select unnest($4::text[]), 'analytics_daemon'
        union all
        select unnest($5::text[]), 'analytics_reader'
        union all
        -- The aggregate is computed with the rights of its owner, and the view over it is read with those of the view's.
        select v.name, v.grantee from (values ('events', 'analytics_refresher'), ('events_hourly', 'analytics_owner')) as v (name, grantee) where $1
    ) as w (name, grantee)
    union all
    select 'routine', r.name, to_regrole(w.grantee), 'EXECUTE'
    from routines as r join (
        select unnest($2::text[] || $3::text[]), 'analytics_daemon'
        union all
        select unnest($3::text[]), 'analytics_reader'
    ) as w (name, grantee) on w.name = r.proname
    union all
    select 'column', w.name, to_regrole(w.grantee), 'SELECT'
    from (
        select unnest($6::text[]), 'analytics_daemon'
        union all
        select unnest($7::text[]), 'analytics_reader'
    ) as w (name, grantee)
)
select statement from (
    select 1 as n, format(
        case when w.kind = 'column' then 'grant %s (%s) on table analytics.settings to %4$s' else 'grant %1$s on %3$s %2$s to %4$s' end,
        w.privilege, w.name, w.kind, w.grantee::regrole) as statement
    from (select * from wanted where $8 except select * from present) as w
    union all
    select 2, format(
        case when p.kind = 'column' then 'revoke %s (%s) on table analytics.settings from %4$s' else 'revoke %1$s on %3$s %2$s from %4$s' end,
        p.privilege, p.name, p.kind, case when p.grantee = 0 then 'public' else p.grantee::regrole::text end)
    from (select * from present except select * from wanted where $8) as p
    where p.grantee in (
        0, to_regrole('analytics_owner'), to_regrole('analytics_daemon'), to_regrole('analytics_reader'), to_regrole('analytics_refresher'))
    union all
    -- Who may look into a schema may call what the extension has there: refreshes of the aggregate, policies, deleting chunks.
    select 3, format('grant usage on schema %I to %s', e.nspname, w.grantee)
    from pg_extension as x join pg_namespace as e on e.oid = x.extnamespace, pg_namespace as s,
        unnest(case when $8 then array['analytics_owner', 'analytics_daemon'] else array[s.nspowner::regrole::text] end) as w (grantee)
    where $1 and x.extname = 'timescaledb' and s.nspname = 'analytics' and not has_schema_privilege(to_regrole(w.grantee), e.oid, 'usage')
) as needed
order by n, statement
