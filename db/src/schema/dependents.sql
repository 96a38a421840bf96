-- What a drop of the given objects would have to take along, those that depend on them included, in the order in which they can be dropped: what it is and
-- called, as in `objects/common.sql`, and on which of the given it depends.
--
-- $1: the objects.

with recursive named (object, classid, objid) as (
    select
        format('%s analytics.%I(%s)', case p.prokind when 'p' then 'procedure' else 'function' end, p.proname,
            replace(pg_get_function_identity_arguments(p.oid), 'timestamp with time zone', 'timestamptz')),
        'pg_proc'::regclass::oid, p.oid
    from pg_proc as p where p.pronamespace = to_regnamespace('analytics')
    union all
    select format('view analytics.%I', c.relname), 'pg_class'::regclass, c.oid
    from pg_class as c where c.relnamespace = to_regnamespace('analytics') and c.relkind = 'v'
    union all
    select format('trigger %I on analytics.%I', g.tgname, c.relname), 'pg_trigger'::regclass, g.oid
    from pg_trigger as g join pg_class as c on c.oid = g.tgrelid where c.relnamespace = to_regnamespace('analytics')
), dependents (classid, objid, root, depth) as (
    select n.classid, n.objid, n.object, 0 from named as n where n.object = any ($1)
    union
    select
        -- A view depends by its rule.
        case when r.oid is null then d.classid else 'pg_class'::regclass end, coalesce(r.ev_class, d.objid), o.root, o.depth + 1
    from dependents as o
    join pg_depend as d on d.refclassid = o.classid and d.refobjid = o.objid and d.deptype in ('n', 'a', 'i')
    left join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    where (r.oid is null or r.ev_class <> o.objid) and o.depth < 100
)
select coalesce(n.object, pg_describe_object(d.classid, d.objid, 0)) as object, min(d.root) as root
from dependents as d left join named as n on n.classid = d.classid and n.objid = d.objid
-- The type of a view's rows is part of the view.
where d.classid <> 'pg_type'::regclass
group by 1
order by max(d.depth) desc, 1
