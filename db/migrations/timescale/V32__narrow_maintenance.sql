-- Maintenance for a login that owns nothing. What deletes raw events can be called with any instant, but deletes none that may still be
-- counted anew.
--
-- refresh_hour stays as it is: the extension's refresh commits on its way, which only a procedure may that runs with the rights of its caller.

create or replace procedure analytics.drop_events_before(instant timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- The extension may be in any schema, and none is searched here.
    execute format(
        'select %s.drop_chunks(''analytics.events'', older_than => $1)',
        (select e.extnamespace::regnamespace from pg_extension as e where e.extname = 'timescaledb'))
    using (select least(instant, s.accepts_from) from analytics.settings as s);
end
$$;
