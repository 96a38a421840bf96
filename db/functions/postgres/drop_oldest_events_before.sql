-- Deletes the oldest partition that ended before an instant, and before accepts_from, and returns whether
-- there was one: it can be called with any instant, and deletes no event that may still be counted anew.
-- Taking a partition out of the table locks out inserts for a moment. If that moment does not come within
-- a tenth of a second, because something reads events, the call fails.

create or replace function analytics.drop_oldest_events_before(instant timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    name text;
begin
    select min(c.relname) into name
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid cross join analytics.settings as s
    where i.inhparent = 'analytics.events'::regclass
        and c.relname < 'events_' || to_char(least(instant, s.accepts_from) at time zone 'UTC', 'YYYYMMDD');
    if name is not null then
        execute format('drop table analytics.%I', name);
    end if;
    return name is not null;
end
$$;
