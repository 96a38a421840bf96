-- Lets a site take no events any more, or take them again. Returns its number; null if there is none of
-- the name.

create or replace function analytics.archive_site(name text, is_archived boolean, out id integer)
language sql as $function$
    update analytics.sites as s
    set archived_at = case when is_archived then coalesce(s.archived_at, clock_timestamp()) end
    where s.name = archive_site.name and s.deleted_at is null
    returning s.id
$function$;
