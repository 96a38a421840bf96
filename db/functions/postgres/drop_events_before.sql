-- Deletes the partitions that ended before an instant, each in a transaction of its own. A procedure that
-- commits on its way cannot run with the rights of its owner, so it leaves the work to a function that
-- does.

create or replace procedure analytics.drop_events_before(instant timestamptz)
language plpgsql as $$
begin
    while analytics.drop_oldest_events_before(instant) loop
        commit;
    end loop;
end
$$;
