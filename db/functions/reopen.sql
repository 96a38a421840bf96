-- Makes a settled hour open again: users and counters are rebuilt from its raw events, and the counters
-- go to the given writer. Does nothing to an open hour. To be called in a transaction of its own: it
-- takes the hour's lock exclusively, which an ingest already holds shared.
--
-- It leaves an hour alone whose raw events are deleted, since it could never be settled again. If the raw
-- events that are left give less than what was settled, the hour stays settled, and is known from then on
-- to lack some: it takes no more events, and is not rebuilt for the next one either.

create or replace function analytics.reopen(hour timestamptz, writer bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was record;
begin
    if not analytics.lock_for_rebuild(reopen.hour) then
        return;
    end if;
    select s.unique_users, s.clicks, s.impressions into was
    from analytics.settled_hours as s where s.hour = reopen.hour and s.events_missing_since is null;
    if not found then
        return;
    end if;
    begin
        perform analytics.rebuild_to_at_least(reopen.hour, reopen.writer, was.unique_users, was.clicks, was.impressions);
    exception when sqlstate 'AN007' then
        update analytics.settled_hours as s set events_missing_since = now() where s.hour = reopen.hour;
    end;
end
$$;
