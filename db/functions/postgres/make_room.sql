-- Makes the partitions that the given hours will be stored in, where they are missing.
--
-- `create table … partition of` would lock the whole of events against every other insert. A table that
-- is made on its own and then attached takes a lock that inserts do not wait for; the check constraint
-- spares the attachment its scan. That lock is taken first, so that two writers that miss the same day
-- take turns. It is a lock on the table and not an advisory one, because only the former makes the
-- session forget that it has just seen the partition missing.

create or replace function analytics.make_room(hours timestamptz[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    hour timestamptz;
begin
    foreach hour in array hours loop
        if to_regclass('analytics.' || analytics.partition_of(hour)) is null then
            lock table analytics.events in share update exclusive mode;
            perform analytics.make_partition(hour);
        end if;
    end loop;
end
$$;
