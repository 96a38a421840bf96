-- How often `access_tokens` was changed. Zero means that there never was a token. Each daemon asks
-- this again and again, and reads the tokens anew only when it has changed.

create or replace function analytics.access_changes() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select c.changes from analytics.access_changes as c
$function$;
