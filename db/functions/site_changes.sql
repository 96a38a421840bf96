-- How often `sites` was changed. Each daemon asks this again and again, and reads the sites anew only
-- when it has changed.

create or replace function analytics.site_changes() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select c.changes from analytics.site_changes as c
$function$;
