-- The statements that are still needed for the roles to be there, and for whoever asks to act for those that own something, in the order in which
-- they are to be run. No row: all is as it should be. Roles belong to the whole server, so those of one database serve all of it.
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
    -- Only the owner of a continuous aggregate may refresh it.
    select 4, 'grant analytics_refresher to analytics_daemon' where $1 and not exists (
        select from pg_auth_members as m
        where m.roleid = to_regrole('analytics_refresher') and m.member = to_regrole('analytics_daemon'))
    union all
    select 5, format('grant %I to %I', r.name, current_user)
    from unnest(array['analytics_owner', 'analytics_refresher']) as r (name)
    where (r.name = 'analytics_owner' or $1) and not coalesce(pg_has_role(current_user, to_regrole(r.name), 'usage'), false)
) as needed
order by n, statement
