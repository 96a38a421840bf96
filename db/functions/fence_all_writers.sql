-- Ends every writer that may know somebody of an hour whose lock the caller holds exclusively; it
-- registers anew and knows nobody. A writer that has stored nothing yet is spared: it knows nobody
-- either, and it may be waiting for that lock, time after time. In the order of their numbers, so that
-- two calls can wait for each other, but never in a circle.

create or replace function analytics.fence_all_writers() returns void
language sql as $$
    update analytics.writers as w set fenced = true
    where w.id in (
        select o.id from analytics.writers as o where not o.fenced and o.last_batch > 0 order by o.id for update)
$$;
