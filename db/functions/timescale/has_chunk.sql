-- Whether a chunk that the extension made itself is there for an hour and belongs to events: one that was
-- dropped or detached, by whatever means, is not in pg_inherits.
--
-- In plpgsql, because a function in SQL that reads a table is parsed and planned anew in every
-- transaction.

create or replace function analytics.has_chunk(hour timestamptz) returns boolean
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
