-- Gives a site another name. Returns its number; null if there is none of the name. Raises
-- unique_violation if there is one of the new name.

create or replace function analytics.rename_site(name text, new_name text, out id integer)
language sql as $function$
    update analytics.sites as s set name = new_name
    where s.name = rename_site.name and s.deleted_at is null
    returning s.id
$function$;
