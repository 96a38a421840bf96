-- Replaces whatever is derived from the raw events of an hour of a site by what they say, in one
-- transaction. The hour is open afterwards, or has no rows at all if it has no raw events; the settler
-- computes its aggregate again before that is read. The counters go to writer 0, which no lane ever is.
-- Raw events that somebody deleted may have been all that an hour had of a visitor, so all writers are
-- fenced.
--
-- Raises AN004 for an hour whose raw events may have been deleted: its counts are all that is left of it;
-- and for one of a site that is deleted.
-- Raises AN007 where a number would fall, unless the caller accepts the loss.

create or replace function analytics.repair(hour timestamptz, site integer, accepts_loss boolean) returns void
language plpgsql as $$
declare
    was record;
begin
    if not analytics.lock_for_rebuild(repair.hour) then
        raise exception 'the hour % cannot be rebuilt, because its raw events are no longer kept; its counts stay as they are',
            to_char(repair.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'AN004';
    end if;
    perform analytics.refuse_deleted_site(repair.site);
    select * into was from analytics.answer(repair.hour, repair.site);
    perform analytics.rebuild_to_at_least(
        repair.hour, repair.site, 0,
        case when accepts_loss then 0 else was.unique_users end,
        case when accepts_loss then 0 else was.clicks end,
        case when accepts_loss then 0 else was.impressions end);
    perform analytics.fence_all_writers();
end
$$;
