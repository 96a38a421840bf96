-- Deletes the writers that a daemon left behind when it was killed: those that stored nothing during 24
-- looks, which the settler takes once an hour, and for a day. A clock alone does not show that a writer
-- is idle: if the clock jumped ahead by a day, the row would go that proves what became of a batch.
-- A writer whose row is locked stores something. One that is alive and finds its row gone registers anew.

create or replace function analytics.forget_idle_writers() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update analytics.writers as w
    set idle_looks = case when w.last_batch = w.batch_at_last_look then w.idle_looks + 1 else 0 end, batch_at_last_look = w.last_batch
    where w.id in (select o.id from analytics.writers as o for update skip locked);

    delete from analytics.writers as w
    where w.id in (
        select o.id from analytics.writers as o
        where o.idle_looks >= 24 and o.written_at < now() - interval '1 day' for update skip locked)
$$;
