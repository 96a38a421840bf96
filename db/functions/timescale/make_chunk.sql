-- Makes the chunk of an hour, or records the one that is there. The lock of make_room must be held.
--
-- Where somebody gave chunks another length than a day, and in a version of the extension without
-- create_chunk, the insert makes the chunk, and the batch after it records it.

create or replace function analytics.make_chunk(hour timestamptz) returns void
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
