-- Stores an event of the daemon's current hour, undoes that, and commits only the writer's number: every
-- permission, every table, the space for a row and the commit itself are tried, and no count changes.
-- For a lane that has had nothing to store for a while, or whose last batch failed. It has the rights of
-- its caller, so that those are tried too.
--
-- Raises what ingest raises, and AN009 where events of that hour are refused.

create or replace function analytics.rehearse(writer bigint, after_batch bigint, batch bigint, at timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    current_hour timestamptz := date_bin(interval '1 hour', at, timestamptz 'epoch');
    -- Of its own, so that rehearsals of several lanes do not wait for one another.
    visitor text := writer;
    taken_from timestamptz;
    is_expired boolean;
begin
    begin
        -- What is assigned stays when the rest is undone.
        select i.expired is not null into is_expired
        from analytics.ingest(
            writer, after_batch, batch, array[at], null, array[visitor], array[true],
            array[current_hour], null, array[1::bigint], array[0::bigint], array[current_hour], array[visitor], null) as i;
        raise exception 'this was a rehearsal' using errcode = 'AN010';
    exception when sqlstate 'AN010' then
        null;
    end;
    if is_expired then
        select greatest(s.accepts_from, s.due_before) into taken_from from analytics.settings as s;
        raise exception 'events before % are refused, because raw events are not kept so long, and it is now %', taken_from, at
            using errcode = 'AN009';
    end if;
    perform analytics.advance_writer(writer, after_batch, batch);
end
$$;
