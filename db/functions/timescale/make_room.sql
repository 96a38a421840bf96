-- Makes the chunks that the given hours will be stored in, where they are missing, before ingest locks any
-- row. If the first insert into a day made the chunk, a large batch would hold the lock under which chunks
-- are made and wait for a visitor that a small batch has just written, and the small batch would hold the
-- visitor and wait for that lock.
--
-- The extension makes a chunk under this lock too, which inserts do not wait for. It is taken first, so
-- that two writers that miss the same day take turns, and the second sees what the first has made.

create or replace function analytics.make_room(hours timestamptz[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    hour timestamptz;
begin
    foreach hour in array hours loop
        if not analytics.has_room(hour) then
            lock table analytics.events in share update exclusive mode;
            if not analytics.has_room(hour) then
                perform analytics.make_chunk(hour);
            end if;
        end if;
    end loop;
end
$$;
