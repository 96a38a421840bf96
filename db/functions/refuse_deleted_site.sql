-- Raises AN004 if a site is deleted. Whoever holds the lock of retention, as a rebuild does, can be sure
-- for as long as it does: see delete_site.

create or replace function analytics.refuse_deleted_site(site integer) returns void
language plpgsql stable as $function$
begin
    if exists (select from analytics.sites as s where s.id = refuse_deleted_site.site and s.deleted_at is not null) then
        raise exception 'the site is deleted' using errcode = 'AN004';
    end if;
end
$function$;
