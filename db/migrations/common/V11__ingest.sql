-- Stores a batch of events and counts it, all or nothing. The three arrays run in step: one event each position.
--
-- Returns two nulls when the batch is stored. Otherwise nothing is stored, and it names
--   settled: hours that must be reopened first (see reopen);
--   expired: hours whose raw events are gone (see settings.accepts_from), which can never be counted exactly again.
--
-- Raises AN001 when the writer is not registered or was fenced off (see fence_writer); nothing is stored then either.
--
-- Order of locks, the same in every call, so that two ingests can wait for each other but never in a circle: retention and
-- hours (shared, never upgraded), the writer's own row, hour_users in the order of its key, hour_counts likewise.

create function analytics.ingest(
    writer bigint, batch bigint, times timestamptz[], users text[], clicks boolean[],
    out settled timestamptz[], out expired timestamptz[]
)
language plpgsql as $$
declare
    hours timestamptz[];
begin
    select array_agg(distinct date_bin(interval '1 hour', t, timestamptz 'epoch')) into hours from unnest(times) as t;

    -- The locks are taken in statements of their own: what follows runs on newer snapshots and so sees whatever the holder
    -- of an exclusive lock committed before it let go.
    perform pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0);
    perform pg_advisory_xact_lock_shared(analytics.lock_class('hours'), analytics.hour_number(h)) from unnest(hours) as h;

    select array_agg(h) into expired
    from unnest(hours) as h, analytics.settings as s where h < s.accepts_from;
    select array_agg(s.hour) into settled
    from analytics.settled_hours as s where s.hour = any (hours) and s.hour <> all (coalesce(expired, '{}'));
    if settled is not null or expired is not null then
        return;
    end if;

    update analytics.writers as w set last_batch = ingest.batch, written_at = now()
    where w.id = ingest.writer and not w.fenced;
    if not found then
        raise exception 'writer % is not registered, or was fenced off', writer using errcode = 'AN001';
    end if;

    perform analytics.make_room(hours);

    with arrived as materialized (
        select a.at, a.user_name, a.click, date_bin(interval '1 hour', a.at, timestamptz 'epoch') as hour
        from unnest(times, users, clicks) as a (at, user_name, click)
    ), stored as (
        insert into analytics.events (at, kind, user_name)
        select at, case when click then 'click' else 'impression' end::analytics.event_kind, user_name
        from arrived
    ), first_seen as (
        insert into analytics.hour_users (hour, user_name)
        select distinct hour, user_name collate "C" from arrived order by 1, 2
        on conflict do nothing
        returning hour
    ), new_users as (
        select hour, count(*) as unique_users from first_seen group by hour
    )
    insert into analytics.hour_counts as c (hour, writer, unique_users, clicks, impressions, written_at)
    select
        a.hour,
        ingest.writer,
        coalesce(min(n.unique_users), 0),
        count(*) filter (where a.click),
        count(*) filter (where not a.click),
        now()
    from arrived as a left join new_users as n using (hour)
    group by a.hour
    order by a.hour
    on conflict on constraint hour_counts_pkey do update set
        unique_users = c.unique_users + excluded.unique_users,
        clicks = c.clicks + excluded.clicks,
        impressions = c.impressions + excluded.impressions,
        written_at = excluded.written_at;
end
$$;
