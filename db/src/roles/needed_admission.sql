-- The statements that are needed for nobody to connect to the database but superusers, its owner and members of the roles, in the order in which they are
-- to be run, so that no member is kept out in between. No row: not everybody may connect. The roles must be there.
--
-- `analytics_refresher` is not among them: nobody logs in as that, and who has it has it through `analytics_daemon`. The owner is, though nobody logs in
-- as that either: the extension's jobs do.
--
-- $1: who is to connect: the roles or, where none are used, the owner of the schema. The owner of the database may in any case.

with rights as (
    select a.grantee, a.privilege_type
    -- Without a list of rights everybody may connect.
    from pg_database as d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) as a where d.datname = current_database()
)
select statement from (
    select 1 as n, format('grant connect on database %I to %s', current_database(), string_agg(r.name, ', ' order by r.n)) as statement
    from unnest($1::text[]) with ordinality as r (name, n)
    where not exists (select from rights as a where a.grantee = to_regrole(r.name) and a.privilege_type = 'CONNECT')
    having count(*) > 0
    union all
    select 2, format('revoke connect, temporary on database %I from public', current_database())
) as needed
where exists (select from rights where grantee = 0 and privilege_type = 'CONNECT')
order by n
