-- Deletes the chunks that ended before an instant, and before accepts_from: it can be called with any
-- instant, and deletes no event that may still be counted anew.

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
