-- The statements that are still needed for the roles to be there, and for whoever asks to act for those that own something and to give them what there
-- is, in the order in which they are to be run: all that takes more rights than whoever asks has. No row: all is as it should be. Roles belong to the whole server, so those of one database serve all of it.
--
-- $1: whether the schema has TimescaleDB.
--
-- The owner may log in, because the extension lets no other role's jobs run in the background; the limit lets nobody else in as the owner.

select statement from (
    select 1 as n, 'create role analytics_owner login connection limit 0' as statement where to_regrole('analytics_owner') is null
    union all
    select 2, 'alter role analytics_owner login connection limit 0' where $1 and exists (
        select from pg_roles as r where r.rolname = 'analytics_owner' and not r.rolcanlogin)
    union all
    select 3, format('create role %I', r.name) from unnest(array['analytics_daemon', 'analytics_reader']) as r (name)
    where to_regrole(r.name) is null
    union all
    select 3, 'create role analytics_refresher' where $1 and to_regrole('analytics_refresher') is null
    union all
    -- Only the owner of a continuous aggregate may refresh it. Who may do everything in the schema may do that too.
    select 4, format('grant analytics_refresher to %I', r.name) from unnest(array['analytics_daemon', 'analytics_owner']) as r (name)
    where $1 and not exists (
        select from pg_auth_members as m
        where m.roleid = to_regrole('analytics_refresher') and m.member = to_regrole(r.name))
    union all
    select 5, format('grant analytics_owner to %I', current_user)
    where not coalesce(pg_has_role(current_user, to_regrole('analytics_owner'), 'usage'), false)
    union all
    -- The extension keeps the chunks of its tables in a schema of its own, and whoever is to own something must be allowed to make it where it is.
    -- A superuser needs none of this.
    select 6, 'grant create on schema _timescaledb_internal to analytics_owner, analytics_refresher'
    where $1
        and not (select rolsuper from pg_roles where rolname = current_user)
        and not coalesce(
            has_schema_privilege(to_regrole('analytics_owner'), to_regnamespace('_timescaledb_internal'), 'create')
            and has_schema_privilege(to_regrole('analytics_refresher'), to_regnamespace('_timescaledb_internal'), 'create'), false)
        and exists (
            -- The others have no chunks.
            select from (values ('events', 'analytics_owner'), ('events_hourly', 'analytics_refresher')) as t (name, owner)
            left join pg_class as c on c.relnamespace = to_regnamespace('analytics') and c.relname = t.name
            where c.oid is null or c.relowner is distinct from to_regrole(t.owner))
) as needed
order by n, statement
