-- Hides a site for ever, and frees its name. Returns its number, which is not given again; null if there
-- is none of the name. What is stored of it goes later, in steps: see forget_deleted_sites.
--
-- Ingesting, settling and reopening hold the lock shared. Once this one has it none of them is under way,
-- and each that comes later sees that the site is deleted. It waits a tenth of a second at most, since
-- those that come meanwhile wait for it: then it fails, and is to be called again.

create or replace function analytics.delete_site(name text, out id integer)
language plpgsql set lock_timeout = '100ms' as $function$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    update analytics.sites as s set deleted_at = clock_timestamp()
    where s.name = delete_site.name and s.deleted_at is null
    returning s.id into delete_site.id;
end
$function$;
