-- Maintenance for a login that owns nothing. What deletes raw events can be called with any instant, but deletes none that may still be
-- counted anew.

alter procedure analytics.refresh_hour(timestamptz) security definer set search_path = pg_catalog, pg_temp;

-- Deletes the oldest partition that ended before an instant, and before accepts_from, and returns whether there was one. Taking it out of the table
-- locks out inserts for a moment; where that moment does not come within a tenth of a second, because something reads events, it gives up.
create function analytics.drop_oldest_events_before(instant timestamptz) returns boolean
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

-- A procedure that commits on its way cannot run with the rights of its owner, so it leaves the work to a function that does.
create or replace procedure analytics.drop_events_before(instant timestamptz)
language plpgsql as $$
begin
    while analytics.drop_oldest_events_before(instant) loop
        commit;
    end loop;
end
$$;
