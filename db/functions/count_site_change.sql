-- Counts each change of `sites`, changes by hand too, but not those of forgetting, of which nobody need
-- know.

create or replace function analytics.count_site_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
begin
    update analytics.site_changes set changes = changes + 1;
    return null;
end
$function$;

create or replace trigger site_changed
    after insert or update of name, archived_at, deleted_at or delete or truncate on analytics.sites
    for each statement execute function analytics.count_site_change();
