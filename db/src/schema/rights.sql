-- Whose the given objects are, and what others may do with them: for each the name of the object, and a statement that gives the same again, with `%s` for
-- the object and `%t` for how a grant names it.
--
-- $1: the objects, by their names.

with objects (name, owner, acl) as (
    select format('analytics.%I', p.proname), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_proc as p where p.pronamespace = to_regnamespace('analytics')
    union all
    select format('analytics.%I', c.relname), c.relowner, c.relacl
    from pg_class as c where c.relnamespace = to_regnamespace('analytics') and c.relkind = 'v'
)
select o.name, s.statement
from objects as o, lateral (
    select format('alter %%s owner to %s', o.owner::regrole) as statement, 1 as n
    union all
    select format('grant %s on %%t to %s%s', a.privilege_type,
        case when a.grantee = 0 then 'public' else a.grantee::regrole::text end,
        case when a.is_grantable then ' with grant option' else '' end), 2
    from aclexplode(o.acl) as a where a.grantee <> o.owner
) as s
where o.name = any ($1)
order by o.name, s.n
