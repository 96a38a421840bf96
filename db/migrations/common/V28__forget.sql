-- Forgetting a visitor: their raw events are deleted, and the hours that had them are counted anew.

-- The hours from the first to the last in which somebody has raw events, and how many. The span may be a day at most, as for an audit, and the
-- statement is planned with its values, so that no other partition or chunk is opened.
create function analytics.hours_of(user_name text, first_hour timestamptz, last_hour timestamptz)
returns table (hour timestamptz, events bigint)
language plpgsql as $function$
begin
    if last_hour >= first_hour + interval '24 hours' then
        raise exception 'visitors are looked for in 24 hours at most, and from % to % are more', first_hour, last_hour
            using errcode = 'AN005';
    end if;
    return query execute $$
        select date_bin(interval '1 hour', e.at, timestamptz 'epoch'), count(*)
        from analytics.events as e where e.at >= $1 and e.at < $2 and e.user_name = $3
        group by 1 order by 1
    $$ using first_hour, last_hour + interval '1 hour', user_name;
end
$function$;

-- Deletes somebody's raw events of an hour and rebuilds the hour from the others, in one transaction. An hour whose raw events are no longer all
-- there is not rebuilt: its counts, which name nobody, are all that is left of it.
create function analytics.forget(user_name text, hour timestamptz, out deleted bigint, out rebuilt boolean)
language plpgsql as $function$
begin
    rebuilt := analytics.lock_for_rebuild(forget.hour);
    execute $$
        delete from analytics.events as e where e.at >= $1 and e.at < $2 and e.user_name = $3
    $$ using forget.hour, forget.hour + interval '1 hour', forget.user_name;
    get diagnostics deleted = row_count;
    if rebuilt and deleted > 0 then
        -- It also ends every writer that knows them to be among the hour's visitors.
        perform analytics.repair(forget.hour);
    end if;
end
$function$;
