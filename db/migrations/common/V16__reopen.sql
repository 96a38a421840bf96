-- Makes a settled hour open again: users and counters are rebuilt from its raw events. Does nothing to an open hour.
-- To be called in a transaction of its own: it takes the hour's lock exclusively, which an ingest already holds shared.
-- The writer is the one whose counter row the rebuilt sums go to.

create function analytics.reopen(hour timestamptz, writer bigint) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(reopen.hour));

    delete from analytics.settled_hours as s where s.hour = reopen.hour;
    if not found then
        return;
    end if;

    insert into analytics.hour_users (hour, user_name)
    select distinct reopen.hour, e.user_name
    from analytics.events as e
    where e.at >= reopen.hour and e.at < reopen.hour + interval '1 hour';

    insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at)
    select
        reopen.hour,
        reopen.writer,
        (select count(*) from analytics.hour_users as u where u.hour = reopen.hour),
        count(*) filter (where e.kind = 'click'),
        count(*) filter (where e.kind = 'impression'),
        now()
    from analytics.events as e
    where e.at >= reopen.hour and e.at < reopen.hour + interval '1 hour';
end
$$;
