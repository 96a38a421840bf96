-- The hours from the first to the last in which a visitor of a site has raw events, and how many. The span
-- may be a day at most, as for an audit; raises AN005 for more. The statement is planned with its values,
-- so that no other partition or chunk is opened.

create or replace function analytics.hours_of(user_name text, site integer, first_hour timestamptz, last_hour timestamptz)
returns table (hour timestamptz, events bigint)
language plpgsql as $function$
begin
    if last_hour >= first_hour + interval '24 hours' then
        raise exception 'visitors are looked for in 24 hours at most, and from % to % are more', first_hour, last_hour
            using errcode = 'AN005';
    end if;
    return query execute $$
        select date_bin(interval '1 hour', e.at, timestamptz 'epoch'), count(*)
        from analytics.events as e where e.at >= $1 and e.at < $2 and e.user_name = $3 and e.site = $4
        group by 1 order by 1
    $$ using first_hour, last_hour + interval '1 hour', user_name, site;
end
$function$;
