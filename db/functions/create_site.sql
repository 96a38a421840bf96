-- Makes a site and returns its number; null if there is one of the name. Raises AN011 where there are as
-- many others as there may be; null for no such limit.
--
-- In a counter of several databases the number is a random one. A sequence would give those again that
-- other databases know already, once this one is restored from an older backup.

create or replace function analytics.create_site(name text, most integer, out id integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
#variable_conflict use_column
declare
    is_one_of_several boolean := coalesce((select o.shards from analytics.settings as o), 1) > 1;
begin
    if most is not null then
        -- Nobody else makes one meanwhile.
        lock table analytics.sites in share row exclusive mode;
    end if;
    if is_one_of_several then
        loop
            insert into analytics.sites as s (id, name) overriding system value
            values ((1 + floor(random() * 2147483647))::integer, create_site.name)
            on conflict do nothing
            returning s.id into create_site.id;
            exit when found or exists (select from analytics.sites as s where s.name = create_site.name and s.deleted_at is null);
        end loop;
    else
        insert into analytics.sites as s (name) values (create_site.name)
        on conflict (name) where deleted_at is null do nothing
        returning s.id into create_site.id;
    end if;
    if create_site.id is not null and (select count(*) from analytics.sites as s where s.deleted_at is null) > most then
        raise exception 'there are % sites already', most using errcode = 'AN011';
    end if;
end
$function$;
