-- Stores a batch of events and counts it, all or nothing: what it stored and committed is answered 204.
--
-- The caller gives the same batch three times, each time as arrays that run in step, because sorting and
-- summing a few dozen events costs the caller less than it costs the database:
--   times, sites, users, clicks           every event;
--   hours, hour_sites, hour_clicks,       the sums of each hour of each site touched, each once, ascending
--   hour_impressions                      by hour and site;
--   seen_hours, seen_users, seen_sites    who was seen in which hour of which site and is not known to be
--                                         there, each once, ascending (users byte by byte).
-- Where all is for the site without a name, hour_sites is null. So are the other two arrays of sites where
-- all that stand in step with them are.
--
-- after_batch is the number of the writer's last stored batch, 0 for none; null for a caller that leaves
-- out no pair. A writer may leave out a pair that it knows to be committed: an open hour has it from then
-- on, since reopening and repairing rebuild the users from raw events. That stops being true where the
-- database goes back to an earlier state, as when a replica that lagged behind takes over. So nothing is
-- stored if the writer's row stands behind another batch. Whatever else takes a pair away from an hour
-- must fence all writers in the same transaction.
--
-- Returns nulls when the batch is stored. Otherwise nothing is stored, and it names
--   settled, settled_sites: hours of sites that must be reopened first (see reopen);
--   expired, expired_sites: those that never take events again (see blocked);
--   deleted: the sites that never do.
--
-- Raises AN001, and stores nothing, when the writer is not registered, was fenced off (see fence_writer)
-- or stands behind another batch; AN003 outside of a read committed transaction. A caller may send a batch
-- before the answer to the one that it names. If that one is not stored this one raises AN012, so that
-- batches are stored in their order; it does only in sessions with analytics.sends_ahead = on.
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
    times timestamptz[], sites integer[], users text[], clicks boolean[],
    hours timestamptz[], hour_sites integer[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[], seen_sites integer[],
    out settled timestamptz[], out settled_sites integer[], out expired timestamptz[], out expired_sites integer[],
    out deleted integer[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    hour timestamptz;
    last_hour timestamptz;
    locked boolean;
    has_room boolean := true;
    is_crowded boolean;
    first_seen bigint[];
begin
    -- On an older snapshot the checks below would not see what the holder of a lock has just committed.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'ingest must run in a read committed transaction' using errcode = 'AN003';
    end if;

    -- The locks are taken before the first query: what follows runs on newer snapshots and so sees whatever the holder of an
    -- exclusive lock committed before it let go. Assignments cost a tenth of what `perform` does.
    locked := pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0) is not null;
    foreach hour in array hours loop
        -- Several sites have the same hour.
        continue when hour = last_hour;
        last_hour := hour;
        locked := pg_advisory_xact_lock_shared(analytics.lock_class('hours'), analytics.hour_number(hour)) is not null;
        has_room := has_room and analytics.has_room(hour);
    end loop;

    if after_batch is null then
        -- Locked, so that it is still the last one below.
        select w.last_batch into after_batch from analytics.writers as w where w.id = ingest.writer for update;
    end if;

    if not has_room then
        -- Nothing is made for events that are not taken.
        select b.* into settled, settled_sites, expired, expired_sites, deleted from analytics.blocked(hours, hour_sites) as b;
        if settled is not null or expired is not null or deleted is not null then
            return;
        end if;
        perform analytics.make_room(hours);
    end if;

    -- The writer's row is written only if every hour takes events: the earliest one tells whether any is expired. Sites are asked
    -- for only where there are some.
    if hour_sites is null then
        update analytics.writers as w set
            last_batch = ingest.batch,
            part = ingest.batch >> 8,
            written_at = now()
        where w.id = ingest.writer and w.part = ingest.after_batch >> 8 and w.last_batch = ingest.after_batch and not w.fenced
            and hours[1] >= (select greatest(s.accepts_from, s.due_before) from analytics.settings as s)
            and not exists (select from analytics.settled_hours as z where z.site = 0 and z.hour = any (hours))
        returning w.is_crowded into is_crowded;
    else
        update analytics.writers as w set
            last_batch = ingest.batch,
            part = ingest.batch >> 8,
            written_at = now()
        where w.id = ingest.writer and w.part = ingest.after_batch >> 8 and w.last_batch = ingest.after_batch and not w.fenced
            and hours[1] >= (select greatest(s.accepts_from, s.due_before) from analytics.settings as s)
            and not exists (
                select from unnest(hours, hour_sites) as h (hour, site)
                join analytics.settled_hours as z on z.site = h.site and z.hour = h.hour)
            and not exists (select from analytics.sites as d where d.deleted_at is not null and d.id = any (hour_sites))
        returning w.is_crowded into is_crowded;
    end if;
    if not found then
        select b.* into settled, settled_sites, expired, expired_sites, deleted from analytics.blocked(hours, hour_sites) as b;
        if settled is null and expired is null and deleted is null then
            -- A daemon that sends batches ahead says so: one that does not could not make anything of the code.
            if current_setting('analytics.sends_ahead', true) = 'on'
                and exists (select from analytics.writers as w where w.id = ingest.writer and w.last_batch < ingest.after_batch and not w.fenced)
            then
                raise exception 'batch % of writer % is not stored, because batch % is not', batch, writer, after_batch using errcode = 'AN012';
            end if;
            raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
                using errcode = 'AN001';
        end if;
        return;
    end if;

    -- A statement for each table: one for all four costs more to start than they do together. In a list of columns unnest yields
    -- row after row; as a table it would first lay all of them down, which takes a fifth of the time.
    --
    -- Whoever brings a visitor whom this batch brings too, and who is new, waits for its commit. So the events, which take longest,
    -- come before the visitors.
    insert into analytics.events (at, kind, site, user_name)
    select e.at, case when e.click then 'click' else 'impression' end::analytics.event_kind, coalesce(e.site, 0), e.user_name
    from (select unnest(times) as at, unnest(sites) as site, unnest(users) as user_name, unnest(clicks) as click) as e;

    -- In a busy hour most batches bring no one who is not known.
    if cardinality(seen_users) > 0 then
        with new as (
            insert into analytics.hour_users (hour, user_name, site)
            select s.hour, s.user_name, coalesce(s.site, 0)
            from (select unnest(seen_hours) as hour, unnest(seen_users) as user_name, unnest(seen_sites) as site) as s
            on conflict do nothing
            returning hour_users.hour, hour_users.site
        )
        select array_agg(n.users order by h.place) into first_seen
        from unnest(hours, hour_sites) with ordinality as h (hour, site, place)
        left join (select n.hour, n.site, count(*) as users from new as n group by n.hour, n.site) as n
            on n.hour = h.hour and n.site = coalesce(h.site, 0);
    end if;

    insert into analytics.hour_counts as c (hour, site, is_later, writer, part, unique_users, clicks, impressions, written_at)
    select
        h.hour, coalesce(h.site, 0), is_crowded, ingest.writer,
        case when is_crowded then analytics.later_part(h.hour, coalesce(h.site, 0), ingest.writer) else 0 end,
        coalesce(h.users, 0), h.clicks, h.impressions, now()
    from (
        select unnest(hours) as hour, unnest(hour_sites) as site, unnest(first_seen) as users,
            unnest(hour_clicks) as clicks, unnest(hour_impressions) as impressions
    ) as h
    on conflict on constraint hour_counts_pkey do update set
        unique_users = c.unique_users + excluded.unique_users,
        clicks = c.clicks + excluded.clicks,
        impressions = c.impressions + excluded.impressions,
        written_at = excluded.written_at,
        part = case when c.is_later then ingest.batch >> 8 else 0 end;

    if batch >> 8 <> after_batch >> 8 then
        perform analytics.look_for_old_versions(writer, batch);
    end if;
end
$$;
