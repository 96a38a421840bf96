-- Room for a new day before anything else of a batch is written, as in the other flavour.
--
-- Until here the first insert into a day made its chunk, in the middle of ingest: a large batch held the lock under which chunks are
-- made and waited for a visitor that a small batch had just written; the small batch held the visitor and waited for that lock.
-- Now ingest asks has_room first, and make_room takes the lock before any row is locked.
--
-- The functions keep their signatures, and daemons of the version before call them through ingest, so they go on meanwhile.

-- The name of the chunk that holds an hour, where make_room made it. A name is found in a microsecond; a query, such as has_chunk, takes twenty
-- times as long, and this is asked with every batch.
create function analytics.chunk_of(hour timestamptz) returns text
language sql stable as $$ select '_timescaledb_internal.analytics_events_' || to_char(hour at time zone 'UTC', 'YYYYMMDD') $$;

-- Chunks that the extension made, under names of its own: those from before this migration, of an insert by hand, or of another length than a day.
-- A row says where to look, and not that the chunk is still there. The extension's own catalog would say that, but is another in each of its versions.
create table analytics.foreign_chunks (
    range_start timestamptz primary key,
    range_end timestamptz not null,
    -- A name, as text: a dump can be loaded before the chunk is there.
    chunk text not null
);

insert into analytics.foreign_chunks (range_start, range_end, chunk)
select c.range_start, c.range_end, format('%I.%I', c.chunk_schema, c.chunk_name)
from timescaledb_information.chunks as c
where c.hypertable_schema = 'analytics' and c.hypertable_name = 'events';

-- Whether such a chunk is there for an hour and belongs to events: one that was dropped or detached, by whatever means, is not in pg_inherits.
--
-- In plpgsql, because a function in SQL that reads a table is parsed and planned anew in every transaction.
create function analytics.has_chunk(hour timestamptz) returns boolean
language plpgsql stable as $$
begin
    return exists (
        select from pg_catalog.pg_inherits as i
        where i.inhparent = 'analytics.events'::pg_catalog.regclass and i.inhrelid = pg_catalog.to_regclass((
            select k.chunk from analytics.foreign_chunks as k
            where k.range_start <= has_chunk.hour and k.range_end > has_chunk.hour
            order by k.range_start desc limit 1)));
end
$$;

-- Part of the expression that calls it, as in the other flavour.
create or replace function analytics.has_room(hour timestamptz) returns boolean
language sql stable as $$ select to_regclass(analytics.chunk_of(hour)) is not null or analytics.has_chunk(hour) $$;

-- Makes the chunks that the given hours will be stored in, where they are missing.
--
-- The extension makes a chunk under this lock too, which inserts do not wait for. It is taken first, so that two writers that miss the same
-- day take turns, and the second sees what the first has made.
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

-- Makes the chunk of an hour, or notes the one that is there. The lock of make_room must be held.
--
-- Where somebody gave chunks another length than a day, and in a version of the extension without create_chunk, the insert makes the chunk
-- as before, and the batch after it notes it.
create function analytics.make_chunk(hour timestamptz) returns void
language plpgsql as $$
declare
    day constant timestamptz := date_bin(interval '24 hours', hour, timestamptz 'epoch');
    first_microsecond constant bigint := extract(epoch from day) * 1000000;
    made record;
begin
    if (select d.time_interval from timescaledb_information.dimensions as d
        where d.hypertable_schema = 'analytics' and d.hypertable_name = 'events') = interval '24 hours' then
        begin
            select * into made from _timescaledb_functions.create_chunk(
                'analytics.events',
                jsonb_build_object('at', jsonb_build_array(first_microsecond, first_microsecond + 86400000000)),
                split_part(analytics.chunk_of(hour), '.', 1), split_part(analytics.chunk_of(hour), '.', 2));
            if not made.created then
                perform analytics.note_chunk(day, day + interval '24 hours', format('%I.%I', made.schema_name, made.table_name));
            end if;
            return;
        exception
            -- TS503: a chunk of another length is in the way.
            when undefined_function or sqlstate 'TS503' then null;
        end;
    end if;
    perform analytics.note_chunk(c.range_start, c.range_end, format('%I.%I', c.chunk_schema, c.chunk_name))
    from timescaledb_information.chunks as c
    where c.hypertable_schema = 'analytics' and c.hypertable_name = 'events' and c.range_start <= hour and c.range_end > hour;
end
$$;

-- Notes a chunk of another name, in place of others that were where it is.
create function analytics.note_chunk(range_start timestamptz, range_end timestamptz, chunk text) returns void
language sql as $$
    delete from analytics.foreign_chunks as k
    where k.range_start < note_chunk.range_end and k.range_end > note_chunk.range_start and k.range_start <> note_chunk.range_start;
    insert into analytics.foreign_chunks as k (range_start, range_end, chunk)
    values (note_chunk.range_start, note_chunk.range_end, note_chunk.chunk)
    on conflict on constraint foreign_chunks_pkey do update set range_end = excluded.range_end, chunk = excluded.chunk;
$$;
