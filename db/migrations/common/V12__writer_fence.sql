-- A writer's life: registered when a lane starts, fenced when it ends or when the fate of its last batch is unknown, deleted
-- when it has not written for a day.

create function analytics.register_writer() returns bigint
language sql as $$ insert into analytics.writers default values returning id $$;

-- Ends a writer and returns the number of its last stored batch. It waits for an ingest of that writer that has begun, and
-- makes one that has not yet begun fail, so what it returns is final. Asked again, it says the same; null: no such writer.
create function analytics.fence_writer(writer bigint) returns bigint
language sql as $$ update analytics.writers as w set fenced = true where w.id = fence_writer.writer returning w.last_batch $$;

-- A daemon that was killed leaves its row behind. One that is alive and finds its row gone registers anew.
create function analytics.forget_idle_writers() returns void
language sql as $$ delete from analytics.writers as w where w.written_at < now() - interval '1 day' $$;
