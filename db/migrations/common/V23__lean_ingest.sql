-- The same contracts as before, with less to do: `ingest` checks and writes in one statement. See ARCHITECTURE.md, "One ingest in flight",
-- for what that saves. Signatures stay as they are, so that daemons of the version before go on meanwhile.

-- What reads a field of a time is stable, and only a function that does not claim more becomes part of the expression that calls it.
create or replace function analytics.hour_number(hour timestamptz) returns integer
language sql stable parallel safe as $$ select (extract(epoch from hour) / 3600)::integer $$;

-- Which of these hours take no events: those that are settled must be reopened first; of those that are expired the raw events are gone.
-- Null for none. Tells the truth about hours whose locks the caller holds.
create function analytics.blocked(hours timestamptz[], out settled timestamptz[], out expired timestamptz[])
language sql stable as $$
    select
        (select array_agg(z.hour) from analytics.settled_hours as z where z.hour = any (hours) and z.hour >= s.accepts_from),
        (select array_agg(h) from unnest(hours) as h where h < s.accepts_from)
    from analytics.settings as s
$$;

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

create or replace function analytics.ingest(
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
    has_room boolean := true;
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
        has_room := has_room and analytics.has_room(hour);
    end loop;

    if not has_room then
        -- Nothing is made for events that are not taken.
        select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        if settled is not null or expired is not null then
            return;
        end if;
        perform analytics.make_room(hours);
    end if;

    -- One statement, because starting and ending a statement costs more than most of its parts. Everything else in it waits for
    -- what `written` returns, which is nothing if an hour takes no events: the earliest one tells whether any is expired.
    with written as (
        update analytics.writers as w set last_batch = ingest.batch, written_at = now()
        where w.id = ingest.writer and not w.fenced
            and hours[1] >= (select s.accepts_from from analytics.settings as s)
            and not exists (select from analytics.settled_hours as z where z.hour = any (hours))
        returning w.id
    ), stored as (
        insert into analytics.events (at, kind, user_name)
        select e.at, case when e.click then 'click' else 'impression' end::analytics.event_kind, e.user_name
        from written, unnest(times, users, clicks) as e (at, user_name, click)
    ), first_seen as (
        insert into analytics.hour_users (hour, user_name)
        select s.hour, s.user_name from written, unnest(seen_hours, seen_users) as s (hour, user_name)
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
        select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        if settled is null and expired is null then
            raise exception 'writer % is not registered, or was fenced off', writer using errcode = 'AN001';
        end if;
    end if;
end
$$;
