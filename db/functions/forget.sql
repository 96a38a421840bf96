-- Deletes a visitor's raw events of an hour and rebuilds the hour from the others, in one transaction.
-- The hour's numbers fall by what is deleted and no more: an hour that lacks other raw events keeps its
-- counts, which name no visitor.

create or replace function analytics.forget(user_name text, hour timestamptz, out deleted bigint, out rebuilt boolean)
language plpgsql as $function$
declare
    was record;
    deleted_clicks bigint;
begin
    rebuilt := analytics.lock_for_rebuild(forget.hour);
    select * into was from analytics.answer(forget.hour);
    execute $$
        with gone as (
            delete from analytics.events as e where e.at >= $1 and e.at < $2 and e.user_name = $3 returning e.kind
        )
        select count(*), count(*) filter (where kind = 'click') from gone
    $$ into deleted, deleted_clicks using forget.hour, forget.hour + interval '1 hour', forget.user_name;
    if rebuilt and deleted > 0 then
        begin
            perform analytics.rebuild_to_at_least(
                forget.hour, 0, was.unique_users - 1, was.clicks - deleted_clicks, was.impressions - (deleted - deleted_clicks));
        exception when sqlstate 'AN007' then
            rebuilt := false;
            update analytics.settled_hours as s set events_missing_since = coalesce(s.events_missing_since, now())
            where s.hour = forget.hour;
            delete from analytics.hour_users as u where u.hour = forget.hour and u.user_name = forget.user_name;
        end;
        -- They know them to be among the hour's visitors.
        perform analytics.fence_all_writers();
    end if;
end
$function$;
