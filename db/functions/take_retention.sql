-- Lets the setting of retention, and the instant before which raw events are due, be those of shard 0:
-- for the other shards of a counter, before any of them deletes raw events. Nothing is done to shard 0.

create or replace function analytics.take_retention(retention interval, due_before timestamptz) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update analytics.settings as s set retention = take_retention.retention, due_before = take_retention.due_before
    where s.shard > 0
    and (s.retention, s.due_before) is distinct from (take_retention.retention, take_retention.due_before)
$$;
