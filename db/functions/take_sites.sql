-- Lets the sites be those of shard 0, for the other shards of a counter. All sites are given, deleted ones
-- too. A site that is deleted here stays so. Nothing is done to shard 0.
--
-- A site is deleted here as delete_site does it there: no ingest is under way, and each that comes later
-- sees it. So this waits a tenth of a second at most: then it fails, and is to be called again.
--
-- Returns the numbers that are of other sites here, as only rows made by hand are. Those are left as they
-- are, since what is stored of one would become the other's. All others are taken.

create or replace function analytics.take_sites(
    ids integer[], names text[], created timestamptz[], archived timestamptz[], deleted timestamptz[], out others integer[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
begin
    others := '{}';
    if (select s.shard from analytics.settings as s) = 0 then
        return;
    end if;
    others := array(
        select s.id from unnest(ids, created) as g (id, created_at) join analytics.sites as s on s.id = g.id
        where g.created_at <> s.created_at
        order by s.id
    );
    if exists (
        select from unnest(ids, deleted) as g (id, deleted_at) join analytics.sites as s on s.id = g.id
        where g.deleted_at is not null and s.deleted_at is null and s.id <> all (others)
    ) then
        perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    end if;
    -- A name is free for the site that has it in shard 0: two may have changed names with each other. One
    -- that is not known there keeps a name by which it can be found.
    update analytics.sites as s set name = case
        when s.id = any (ids) and s.id <> all (others) then 'renamed..' || s.id
        else left(s.name, 63 - length(s.id::text)) || '.' || s.id
    end
    from unnest(ids, names, deleted) as g (id, name, deleted_at)
    where s.deleted_at is null and g.deleted_at is null and g.name = s.name and g.id <> s.id and g.id <> all (others);

    insert into analytics.sites as s (id, name, created_at, archived_at, deleted_at) overriding system value
    select g.* from unnest(ids, names, created, archived, deleted) as g (id, name, created_at, archived_at, deleted_at)
    where g.id <> all (others)
    on conflict (id) do update set
        name = excluded.name, archived_at = excluded.archived_at, deleted_at = coalesce(s.deleted_at, excluded.deleted_at)
    where (s.name, s.archived_at, s.deleted_at)
        is distinct from (excluded.name, excluded.archived_at, coalesce(s.deleted_at, excluded.deleted_at));
end
$$;
