-- Gives back to shard 0 what other shards know of the sites, as where it was restored from an older backup:
-- the inverse of take_sites. Rows of several shards may be given together. Nothing is done to other shards.
--
-- A site that is not known here is inserted as it is. If its name is taken meanwhile, its number is added
-- to the name, so that what is stored of it can be found. A site that is deleted in any shard is deleted
-- here too. Names and archiving of the sites that are known stay as they are.
--
-- If there is nothing to give back it writes nothing, and waits for nobody. Else it waits a tenth of a
-- second at most, as delete_site does: then it fails, and is to be called again.

create or replace function analytics.recover_sites(
    ids integer[], names text[], created timestamptz[], archived timestamptz[], deleted timestamptz[]
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    gone integer[] := array(
        select distinct g.id
        from unnest(ids, created, deleted) as g (id, created_at, deleted_at)
        -- Another site of the number is none of ours.
        join analytics.sites as s on s.id = g.id and s.created_at = g.created_at
        where g.deleted_at is not null and s.deleted_at is null
    );
    missing integer[] := array(
        select g.id from unnest(ids) as g (id) where not exists (select from analytics.sites as s where s.id = g.id)
    );
    site record;
    suffix text;
    free_name text;
begin
    if (select s.shard from analytics.settings as s) > 0 or cardinality(gone) + cardinality(missing) = 0 then
        return;
    end if;
    if cardinality(gone) > 0 then
        perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
        update analytics.sites as s set deleted_at = g.deleted_at
        from unnest(ids, deleted) as g (id, deleted_at)
        where s.id = any (gone) and g.id = s.id and g.deleted_at is not null and s.deleted_at is null;
    end if;
    -- Nobody takes a name meanwhile.
    lock table analytics.sites in share row exclusive mode;
    for site in
        select distinct on (g.id) g.*
        from unnest(ids, names, created, archived, deleted) as g (id, name, created_at, archived_at, deleted_at)
        where g.id = any (missing)
        order by g.id, g.deleted_at
    loop
        suffix := '';
        loop
            free_name := left(site.name, 64 - length(suffix)) || suffix;
            exit when site.deleted_at is not null
            or not exists (select from analytics.sites as s where s.name = free_name and s.deleted_at is null);
            suffix := suffix || '.' || site.id;
        end loop;
        insert into analytics.sites (id, name, created_at, archived_at, deleted_at) overriding system value
        values (site.id, free_name, site.created_at, site.archived_at, site.deleted_at)
        on conflict do nothing;
    end loop;
end
$$;
