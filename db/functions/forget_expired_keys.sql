-- Deletes the keys of hours whose raw events are gone: such an hour takes no events, so they serve
-- nothing any more.

create or replace function analytics.forget_expired_keys() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    delete from analytics.event_keys as k using analytics.settings as s where k.hour < s.accepts_from
$$;
