-- Lets the sites be those of shard 0, for the other shards of a counter. All sites are given, deleted ones
-- too. Nothing is done to shard 0.
--
-- A site is deleted here as delete_site does it there: no ingest is under way, and each that comes later
-- sees it. So this waits a tenth of a second at most: then it fails, and is to be called again.
--
-- Raises AN012 where a number is of another site here: what is stored of it would become the other's.

create or replace function analytics.take_sites(
    ids integer[], names text[], created timestamptz[], archived timestamptz[], deleted timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
begin
    if (select s.shard from analytics.settings as s) = 0 then
        return;
    end if;
    if exists (
        select from unnest(ids, created) as g (id, created_at) join analytics.sites as s on s.id = g.id
        where g.created_at <> s.created_at
    ) then
        raise exception 'a site has the number of another one in shard 0, which was restored from a backup' using errcode = 'AN012';
    end if;
    if exists (
        select from unnest(ids, deleted) as g (id, deleted_at) join analytics.sites as s on s.id = g.id
        where g.deleted_at is not null and s.deleted_at is null
    ) then
        perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    end if;
    -- Two sites may have changed names with each other.
    update analytics.sites as s set name = 'renamed..' || s.id
    from unnest(ids, names) as g (id, name) where g.id = s.id and g.name <> s.name;
    insert into analytics.sites as s (id, name, created_at, archived_at, deleted_at) overriding system value
    select * from unnest(ids, names, created, archived, deleted)
    on conflict (id) do update set name = excluded.name, archived_at = excluded.archived_at, deleted_at = excluded.deleted_at
    where (s.name, s.archived_at, s.deleted_at) is distinct from (excluded.name, excluded.archived_at, excluded.deleted_at);
end
$$;
