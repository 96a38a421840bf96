-- What a daemon must know of the sites that are not deleted.

create or replace function analytics.live_sites()
returns table (id integer, name text, is_archived boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select s.id, s.name, s.archived_at is not null from analytics.sites as s where s.deleted_at is null
$function$;
