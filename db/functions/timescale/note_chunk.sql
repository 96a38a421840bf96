-- Records a chunk of another name, in place of others that were where it is.

create or replace function analytics.note_chunk(range_start timestamptz, range_end timestamptz, chunk text) returns void
language sql as $$
    delete from analytics.foreign_chunks as k
    where k.range_start < note_chunk.range_end and k.range_end > note_chunk.range_start and k.range_start <> note_chunk.range_start;
    insert into analytics.foreign_chunks as k (range_start, range_end, chunk)
    values (note_chunk.range_start, note_chunk.range_end, note_chunk.chunk)
    on conflict on constraint foreign_chunks_pkey do update set range_end = excluded.range_end, chunk = excluded.chunk;
$$;
