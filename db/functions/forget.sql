-- Deletes a visitor's raw events of an hour of a site and rebuilds the hour from the others, in one
-- transaction. The hour's numbers fall by what is deleted and no more: an hour that lacks other raw events
-- keeps its counts, which name no visitor. Raises AN004 for a site that is deleted.

create or replace function analytics.forget(user_name text, site integer, hour timestamptz, out deleted bigint, out rebuilt boolean)
language plpgsql as $function$
declare
    was record;
    deleted_clicks bigint;
begin
    rebuilt := analytics.lock_for_rebuild(forget.hour);
    perform analytics.refuse_deleted_site(forget.site);
    select * into was from analytics.answer(forget.hour, forget.site);
    -- As in forget_deleted_sites.
    perform set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);
    execute $$
        with gone as (
            delete from analytics.events as e where e.at >= $1 and e.at < $2 and e.site = $3 and e.user_name = $4 returning e.kind
        )
        select count(*), count(*) filter (where kind = 'click') from gone
    $$ into deleted, deleted_clicks using forget.hour, forget.hour + interval '1 hour', forget.site, forget.user_name;
    if rebuilt and deleted > 0 then
        begin
            perform analytics.rebuild_to_at_least(
                forget.hour, forget.site, 0, was.unique_users - 1, was.clicks - deleted_clicks, was.impressions - (deleted - deleted_clicks));
        exception when sqlstate 'AN007' then
            rebuilt := false;
            update analytics.settled_hours as s set events_missing_since = coalesce(s.events_missing_since, now())
            where s.site = forget.site and s.hour = forget.hour;
            delete from analytics.hour_users as u
            where u.hour = forget.hour and u.user_name = forget.user_name and u.site = forget.site;
        end;
        -- They know them to be among the hour's visitors.
        perform analytics.fence_all_writers();
    end if;
end
$function$;
