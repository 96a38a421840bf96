-- A writer's life: registered when a lane starts, fenced when it ends or when the fate of its last batch is unknown.

create function analytics.register_writer() returns bigint
language sql as $$ insert into analytics.writers default values returning id $$;

-- Ends a writer and returns the number of its last stored batch; null if it was ended before.
-- It waits for an ingest of that writer that has begun, and makes one that has not yet begun fail: whatever it returns is final.
create function analytics.fence_writer(writer bigint) returns bigint
language sql as $$ delete from analytics.writers as w where w.id = fence_writer.writer returning w.last_batch $$;
