-- Ends a writer and returns the number of its last stored batch. It waits for an ingest of that writer
-- that has begun, and makes one that has not yet begun fail, so what it returns is final. Asked again,
-- it returns the same; null: no such writer.

create or replace function analytics.fence_writer(writer bigint) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update analytics.writers as w set fenced = true
    -- The part of an ingest that is waited for may be a later one.
    where w.id = fence_writer.writer and w.part >= (
        select o.part from analytics.writers as o where o.id = fence_writer.writer order by o.part desc limit 1)
    returning w.last_batch
$$;
