-- The distinct users of a range of hours of a site, both ends included, counted from raw events; null
-- where raw events of the range are no longer kept. Planned with the values, so that only the partitions
-- or chunks of the range are opened.

create or replace function analytics.unique_users(
    first timestamptz, last timestamptz, site integer default 0, out unique_users bigint, out kept_from timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $function$
begin
    select s.accepts_from into kept_from from analytics.settings as s;
    if first < kept_from and exists (select from analytics.hours(first, last, site) as h where h.hour < kept_from) then
        return;
    end if;
    execute 'select count(distinct e.user_name) from analytics.events as e where e.at >= $1 and e.at < $2 and e.site = $3'
        into unique_users using first, last + interval '1 hour', site;
end
$function$;
