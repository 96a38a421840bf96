-- Stores a batch of events and counts it, all or nothing: what it stored and committed is answered 204.
--
-- The caller gives the same batch three times, each time as arrays that run in step, because sorting and
-- summing a few dozen events costs the caller less than it costs the database:
--   times, users, clicks                  every event;
--   hours, hour_clicks, hour_impressions  the sums of each hour touched, each hour once, ascending;
--   seen_hours, seen_users                who was seen in which hour and is not known to be there, each
--                                         pair once, ascending (users byte by byte).
--
-- after_batch is the number of the writer's last stored batch, 0 for none; null for a caller that leaves
-- out no pair. A writer may leave out a pair that it knows to be committed: an open hour has it from then
-- on, since reopening and repairing rebuild the users from raw events. That stops being true where the
-- database goes back to an earlier state, as when a replica that lagged behind takes over. So nothing is
-- stored if the writer's row stands behind another batch. Whatever else takes a pair away from an hour
-- must fence all writers in the same transaction.
--
-- Returns two nulls when the batch is stored. Otherwise nothing is stored, and it names
--   settled: hours that must be reopened first (see reopen);
--   expired: hours that never take events again (see blocked).
--
-- Raises AN001, and stores nothing, when the writer is not registered, was fenced off (see fence_writer)
-- or stands behind another batch; AN003 outside of a read committed transaction.
--
-- While any session holds a snapshot, the versions stay that rows had since then, and whoever looks for
-- a row by its key passes all that had that key. So the writer's row gets another key with every 256
-- batches, which after_batch tells, and finds out whether its old versions are removed
-- (writers.is_crowded). While they are not, the writer adds to its hours in later rows, whose keys change too: see later_part.
--
-- Order of locks, the same in every call, so that two ingests can wait for each other but never in a
-- circle: retention and hours (shared, never upgraded), the writer's own row and hour_users in the order
-- of its key, hour_counts likewise.

create or replace function analytics.ingest(
    writer bigint, after_batch bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    out settled timestamptz[], out expired timestamptz[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    hour timestamptz;
    locked boolean;
    has_room boolean := true;
    is_checked boolean := false;
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

    if after_batch is null then
        -- Locked, so that it is still the last one below.
        select w.last_batch into after_batch from analytics.writers as w where w.id = ingest.writer for update;
    end if;

    if not has_room then
        -- Nothing is made for events that are not taken.
        select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        if settled is not null or expired is not null then
            return;
        end if;
        perform analytics.make_room(hours);
    end if;

    if cardinality(times) > 1000 then
        -- Whoever brings a visitor whom this batch brings too, and who is new, waits for its commit. So what takes longest comes before that. What
        -- is checked first cannot change any more, because of the locks, but for the setting of retention: so it is not checked again.
        select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        if settled is not null or expired is not null then
            return;
        end if;
        is_checked := true;
        insert into analytics.events (at, kind, user_name)
        select e.at, case when e.click then 'click' else 'impression' end::analytics.event_kind, e.user_name
        from (select unnest(times) as at, unnest(users) as user_name, unnest(clicks) as click) as e;
        times := '{}';
        users := '{}';
        clicks := '{}';
    end if;

    -- One statement, because starting and ending a statement costs more than most of its parts. Everything else in it waits for
    -- what `written` returns, which is nothing if an hour takes no events: the earliest one tells whether any is expired.
    with written as (
        update analytics.writers as w set
            last_batch = ingest.batch,
            part = ingest.batch >> 8,
            written_at = now()
        where w.id = ingest.writer and w.part = ingest.after_batch >> 8 and w.last_batch = ingest.after_batch and not w.fenced
            and (is_checked or hours[1] >= (select greatest(s.accepts_from, s.due_before) from analytics.settings as s))
            and not exists (select from analytics.settled_hours as z where z.hour = any (hours))
        returning w.id, w.is_crowded
    ), stored as (
        insert into analytics.events (at, kind, user_name)
        select e.at, case when e.click then 'click' else 'impression' end::analytics.event_kind, e.user_name
        -- In a list of columns unnest yields row after row; as a table it would first lay all of them down, which takes a fifth of the time.
        from written, lateral (select unnest(times) as at, unnest(users) as user_name, unnest(clicks) as click) as e
    ), first_seen as (
        insert into analytics.hour_users (hour, user_name)
        select s.hour, s.user_name
        from written, lateral (select unnest(seen_hours) as hour, unnest(seen_users) as user_name) as s
        on conflict do nothing
        returning hour_users.hour
    )
    insert into analytics.hour_counts as c (hour, is_later, writer, part, unique_users, clicks, impressions, written_at)
    select
        h.hour, w.is_crowded, w.id, case when w.is_crowded then analytics.later_part(h.hour, w.id) else 0 end,
        (select count(*) from first_seen as f where f.hour = h.hour), h.clicks, h.impressions, now()
    from written as w, unnest(hours, hour_clicks, hour_impressions) as h (hour, clicks, impressions)
    on conflict on constraint hour_counts_pkey do update set
        unique_users = c.unique_users + excluded.unique_users,
        clicks = c.clicks + excluded.clicks,
        impressions = c.impressions + excluded.impressions,
        written_at = excluded.written_at,
        part = case when c.is_later then ingest.batch >> 8 else 0 end;
    if not found then
        if not is_checked then
            select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        end if;
        if settled is null and expired is null then
            raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
                using errcode = 'AN001';
        end if;
    elsif batch >> 8 <> after_batch >> 8 then
        perform analytics.look_for_old_versions(writer, batch);
    end if;
end
$$;
