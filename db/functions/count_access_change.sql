-- Counts each change of `access_tokens`, changes by hand too.

create or replace function analytics.count_access_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
begin
    update analytics.access_changes set changes = changes + 1;
    return null;
end
$function$;

create or replace trigger access_changed after insert or update or delete or truncate on analytics.access_tokens
    for each statement execute function analytics.count_access_change();
