-- A writer may leave out who it knows to be among an hour's users: it was told that the pair is committed, and from then on an open hour
-- has it (reopening and repairing rebuild the users from raw events, which the hour keeps for as long as it takes events). That stops being
-- true where the database goes back to an earlier state, as when a replica that lagged behind takes over. So each batch now says behind
-- which one it comes, and nothing is stored if the writer's row stands elsewhere.
--
-- Whatever else takes a pair away from an hour must fence all writers in the same transaction: a new writer knows nobody.
--
-- Daemons of the version before leave nobody out and do not say where they stand. The functions that they call stay for them.

-- Stores a batch of events and counts it, all or nothing.
--
-- The caller gives the same batch three times, each time as arrays that run in step, because sorting and summing a few dozen
-- events costs the caller less than it costs the database:
--   times, users, clicks                  every event;
--   hours, hour_clicks, hour_impressions  the sums of each hour touched, each hour once, ascending;
--   seen_hours, seen_users                who was seen in which hour and is not known to be there, each pair once, ascending (users byte by byte).
--
-- after_batch is the number of the writer's last stored batch, 0 for none; null for whoever leaves nobody out.
--
-- Returns two nulls when the batch is stored. Otherwise nothing is stored, and it names
--   settled: hours that must be reopened first (see reopen);
--   expired: hours whose raw events are gone (see settings.accepts_from), which can never be counted exactly again.
--
-- Raises AN001 when the writer is not registered, was fenced off (see fence_writer) or stands behind another batch; nothing is stored then either.
--
-- Order of locks, the same in every call, so that two ingests can wait for each other but never in a circle: retention and
-- hours (shared, never upgraded), the writer's own row and hour_users in the order of its key, hour_counts likewise.

create function analytics.ingest(
    writer bigint, after_batch bigint, batch bigint,
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

    if cardinality(times) > 1000 then
        -- Whoever brings a visitor whom this batch brings too, and who is new, waits for its commit. So what takes longest comes before that. What
        -- is checked first cannot change any more, because of the locks.
        select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        if settled is not null or expired is not null then
            return;
        end if;
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
        update analytics.writers as w set last_batch = ingest.batch, written_at = now()
        where w.id = ingest.writer and not w.fenced
            and (ingest.after_batch is null or w.last_batch = ingest.after_batch)
            and hours[1] >= (select s.accepts_from from analytics.settings as s)
            and not exists (select from analytics.settled_hours as z where z.hour = any (hours))
        returning w.id
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
            raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
                using errcode = 'AN001';
        end if;
    end if;
end
$$;

create or replace function analytics.ingest(
    writer bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    out settled timestamptz[], out expired timestamptz[]
)
language sql as $$
    select i.settled, i.expired
    from analytics.ingest(
        writer, null, batch, times, users, clicks, hours, hour_clicks, hour_impressions, seen_hours, seen_users) as i
$$;

-- Stores a batch as ingest does, and with it, in the same transaction,
--   key_hours, keys, fingerprints   the keys that its events came under, in each hour that they touch, each pair once, ascending;
--   spool, spool_from, spool_to     the spool that the batch was read from, and behind which record and up to which; all null for none.
--
-- Besides what ingest returns, it names by their place in the arrays, from 1, the keys that are there already:
--   repeated      with the same fingerprint: their events are stored, and must be left out;
--   conflicting   with another one.
-- All four are null when the batch is stored; otherwise nothing is.
--
-- Raises AN006 when another transaction stored one of the keys, or of the records, at the same moment: try again.
-- The keys are stored last and in order, so that two calls can wait for each other, but never in a circle.

create function analytics.ingest_once(
    writer bigint, after_batch bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    key_hours timestamptz[], keys text[], fingerprints bytea[],
    spool text, spool_from bigint, spool_to bigint,
    out settled timestamptz[], out expired timestamptz[], out repeated bigint[], out conflicting bigint[]
)
language plpgsql
-- The plan for the keys is made once, perhaps while the table is empty and was just analyzed, and then to read all of it looks cheapest.
set enable_seqscan = off
-- A table without an index is read whole all the same, at a price in the plan for which it would be compiled.
set jit = off
as $$
begin
    select
        array_agg(k.n) filter (where e.fingerprint = k.fingerprint),
        array_agg(k.n) filter (where e.fingerprint <> k.fingerprint)
    into repeated, conflicting
    from unnest(key_hours, keys, fingerprints) with ordinality as k (hour, key, fingerprint, n)
    -- Key by key: where nothing is known of the table, a join would read the whole index with every request.
    cross join lateral (
        select s.fingerprint from analytics.event_keys as s where s.hour = k.hour and s.key = k.key limit 1
    ) as e;
    if repeated is not null or conflicting is not null then
        return;
    end if;

    select i.settled, i.expired into settled, expired
    from analytics.ingest(
        writer, after_batch, batch,
        times, users, clicks, hours, hour_clicks, hour_impressions, seen_hours, seen_users) as i;
    if settled is not null or expired is not null then
        return;
    end if;

    begin
        insert into analytics.event_keys (hour, key, fingerprint)
        select unnest(key_hours), unnest(keys), unnest(fingerprints);
    exception when unique_violation then
        raise exception 'another transaction has just stored one of the keys' using errcode = 'AN006';
    end;

    if spool is not null and not analytics.advance_spool(spool, spool_from, spool_to) then
        raise exception 'spool % is no longer stored up to record %: another transaction has stored more', spool, spool_from
            using errcode = 'AN006';
    end if;
end
$$;

create or replace function analytics.ingest_once(
    writer bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    key_hours timestamptz[], keys text[], fingerprints bytea[],
    spool text, spool_from bigint, spool_to bigint,
    out settled timestamptz[], out expired timestamptz[], out repeated bigint[], out conflicting bigint[]
)
language sql as $$
    select i.settled, i.expired, i.repeated, i.conflicting
    from analytics.ingest_once(
        writer, null, batch, times, users, clicks, hours, hour_clicks, hour_impressions, seen_hours, seen_users,
        key_hours, keys, fingerprints, spool, spool_from, spool_to) as i
$$;

-- Ends every writer that may know somebody of an hour whose lock the caller holds exclusively; it registers anew and knows nobody. One that
-- has stored nothing yet is spared: it knows nobody either, and it may be waiting for that lock, time after time.
-- In the order of their numbers, so that two calls can wait for each other, but never in a circle.
create function analytics.fence_all_writers() returns void
language sql as $$
    update analytics.writers as w set fenced = true
    where w.id in (
        select o.id from analytics.writers as o where not o.fenced and o.last_batch > 0 order by o.id for update)
$$;

-- As before (see V21). Raw events that somebody deleted may have been all that an hour had of a visitor, so nobody is known any more.
create or replace function analytics.repair(hour timestamptz) returns void
language plpgsql as $$
begin
    if not analytics.lock_for_rebuild(repair.hour) then
        raise exception 'the hour % cannot be rebuilt, because its raw events are no longer kept; its counts stay as they are',
            to_char(repair.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'AN004';
    end if;
    delete from analytics.settled_hours as s where s.hour = repair.hour;
    delete from analytics.hour_counts as c where c.hour = repair.hour;
    delete from analytics.hour_users as u where u.hour = repair.hour;
    perform analytics.rebuild(repair.hour, 0);
    perform analytics.fence_all_writers();
end
$$;
