-- Makes a site and returns its number; null if there is one of the name. Raises AN011 where there are as
-- many others as there may be; null for no such limit.

create or replace function analytics.create_site(name text, most integer, out id integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
#variable_conflict use_column
begin
    if most is not null then
        -- Nobody else makes one meanwhile.
        lock table analytics.sites in share row exclusive mode;
    end if;
    insert into analytics.sites as s (name) values (create_site.name)
    on conflict (name) where deleted_at is null do nothing
    returning s.id into create_site.id;
    if found and (select count(*) from analytics.sites as s where s.deleted_at is null) > most then
        raise exception 'there are % sites already', most using errcode = 'AN011';
    end if;
end
$function$;
