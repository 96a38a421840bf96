-- Makes a settled hour open again: users and counters are rebuilt from its raw events. Does nothing to an open hour.
-- To be called in a transaction of its own: it takes the hour's lock exclusively, which an ingest already holds shared.
-- The writer is the one whose counter row the rebuilt sums go to.
--
-- The raw events are read by statements that are planned with the hour's value, so that only its own partition or chunk is opened
-- and locked.

create function analytics.reopen(hour timestamptz, writer bigint) returns void
language plpgsql as $function$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'reopen must run in a read committed transaction' using errcode = 'AN003';
    end if;
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(reopen.hour));

    delete from analytics.settled_hours as s where s.hour = reopen.hour;
    if not found then
        return;
    end if;

    execute $$
        insert into analytics.hour_users (hour, user_name)
        select distinct $1, e.user_name from analytics.events as e where e.at >= $1 and e.at < $2
    $$ using hour, hour + interval '1 hour';

    execute $$
        insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at)
        select
            $1,
            $3,
            (select count(*) from analytics.hour_users as u where u.hour = $1),
            count(*) filter (where e.kind = 'click'),
            count(*) filter (where e.kind = 'impression'),
            now()
        from analytics.events as e where e.at >= $1 and e.at < $2
    $$ using hour, hour + interval '1 hour', writer;
end
$function$;
