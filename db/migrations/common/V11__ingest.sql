-- Stores a batch of events and counts it, all or nothing.
--
-- The caller gives the same batch three times, each time as arrays that run in step, because sorting and summing a few dozen
-- events costs the caller less than it costs the database:
--   times, users, clicks                  every event;
--   hours, hour_clicks, hour_impressions  the sums of each hour touched, each hour once, ascending;
--   seen_hours, seen_users                who was seen in which hour, each pair once, ascending (users byte by byte).
--
-- Returns two nulls when the batch is stored. Otherwise nothing is stored, and it names
--   settled: hours that must be reopened first (see reopen);
--   expired: hours whose raw events are gone (see settings.accepts_from), which can never be counted exactly again.
--
-- Raises AN001 when the writer is not registered or was fenced off (see fence_writer); nothing is stored then either.
--
-- Order of locks, the same in every call, so that two ingests can wait for each other but never in a circle: retention and
-- hours (shared, never upgraded), the writer's own row and hour_users in the order of its key, hour_counts likewise.

create function analytics.ingest(
    writer bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    out settled timestamptz[], out expired timestamptz[]
)
language plpgsql as $$
declare
    hour timestamptz;
    locked boolean;
begin
    -- On an older snapshot the checks below would not see what the holder of a lock has just committed.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'ingest must run in a read committed transaction' using errcode = 'AN003';
    end if;

    -- The locks are taken before the first query: what follows runs on newer snapshots and so sees whatever the holder of an
    -- exclusive lock committed before it let go. Assignments cost a tenth of what `perform` does.
    locked := pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0) is not null;
    foreach hour in array hours loop
        locked := pg_advisory_xact_lock_shared(analytics.lock_class('hours'), analytics.hour_number(hour)) is not null;
    end loop;

    select
        (select array_agg(h) from unnest(hours) as h where h < s.accepts_from),
        (select array_agg(z.hour) from analytics.settled_hours as z where z.hour = any (hours) and z.hour >= s.accepts_from)
    into expired, settled
    from analytics.settings as s;
    if settled is not null or expired is not null then
        return;
    end if;

    locked := analytics.make_room(hours) is not null;

    -- One statement, because starting and ending a statement costs more than most of its parts.
    with written as (
        update analytics.writers as w set last_batch = ingest.batch, written_at = now()
        where w.id = ingest.writer and not w.fenced
        returning w.id
    ), stored as (
        insert into analytics.events (at, kind, user_name)
        select e.at, case when e.click then 'click' else 'impression' end::analytics.event_kind, e.user_name
        from unnest(times, users, clicks) as e (at, user_name, click)
    ), first_seen as (
        insert into analytics.hour_users (hour, user_name)
        select * from unnest(seen_hours, seen_users)
        on conflict do nothing
        returning hour_users.hour
    )
    insert into analytics.hour_counts as c (hour, writer, unique_users, clicks, impressions, written_at)
    select h.hour, w.id, (select count(*) from first_seen as f where f.hour = h.hour), h.clicks, h.impressions, now()
    from written as w, unnest(hours, hour_clicks, hour_impressions) as h (hour, clicks, impressions)
    on conflict on constraint hour_counts_pkey do update set
        unique_users = c.unique_users + excluded.unique_users,
        clicks = c.clicks + excluded.clicks,
        impressions = c.impressions + excluded.impressions,
        written_at = excluded.written_at;
    if not found then
        raise exception 'writer % is not registered, or was fenced off', writer using errcode = 'AN001';
    end if;
end
$$;
