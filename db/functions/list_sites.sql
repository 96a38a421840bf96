-- The sites by name, without those that are deleted.

create or replace function analytics.list_sites()
returns table (id integer, name text, created_at timestamptz, archived_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select s.id, s.name, s.created_at, s.archived_at from analytics.sites as s where s.deleted_at is null order by s.name
$function$;
