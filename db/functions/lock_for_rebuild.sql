-- What reopening, repairing and forgetting begin with. Returns whether the hour's raw events are still
-- all there.
--
-- The locks are held to the end of the transaction, in the order in which an ingest takes them:
-- accepts_from does not move, and no ingest of the hour runs. Until then no one can drop the hour's chunk
-- or partition, or turn it into columns: that empties tables at once, and a statement that began before
-- would find neither the rows nor the columns.

create or replace function analytics.lock_for_rebuild(hour timestamptz) returns boolean
language plpgsql as $function$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuilding an hour must be done in a read committed transaction' using errcode = 'AN003';
    end if;
    perform pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0);
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(lock_for_rebuild.hour));
    -- It reads nothing, and locks what it would read.
    execute 'select from analytics.events as e where e.at >= $1 and e.at < $2 limit 0'
        using lock_for_rebuild.hour, lock_for_rebuild.hour + interval '1 hour';
    return (select lock_for_rebuild.hour >= s.accepts_from from analytics.settings as s);
end
$function$;
