-- What retention has passed is refused from the moment on at which it passes it, and not only once its raw events can be deleted, which has to
-- wait until the last hour of those days is settled. Otherwise whoever goes on writing into one old hour would keep it open, and with it all that
-- is to be deleted.
--
-- Signatures stay, so that daemons of the version before go on meanwhile.

-- The instant before which no event is taken. A part of the expression that calls it, so it is of SQL and runs with its caller's rights.
create or replace function analytics.takes_from(accepts_from timestamptz, retention interval) returns timestamptz
language sql stable as $$
    -- Null, which is no retention, is never the greatest.
    select greatest(accepts_from, date_trunc('day', now() - retention, 'UTC'))
$$;

-- Which of these hours take no events: those that are settled must be reopened first; those that are expired never take any again.
-- Null for none. Tells the truth about hours whose locks the caller holds.
create or replace function analytics.blocked(hours timestamptz[], out settled timestamptz[], out expired timestamptz[])
language sql stable as $$
    select
        (select array_agg(z.hour) from analytics.settled_hours as z where z.hour = any (hours) and z.hour >= s.takes_from),
        (select array_agg(h) from unnest(hours) as h where h < s.takes_from)
    from (select analytics.takes_from(accepts_from, retention) from analytics.settings) as s (takes_from)
$$;

-- As before (see V24), with that instant in place of settings.accepts_from.
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
        update analytics.writers as w set last_batch = ingest.batch, written_at = now()
        where w.id = ingest.writer and not w.fenced
            and (ingest.after_batch is null or w.last_batch = ingest.after_batch)
            and (is_checked or hours[1] >= (select analytics.takes_from(s.accepts_from, s.retention) from analytics.settings as s))
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
        if not is_checked then
            select b.settled, b.expired into settled, expired from analytics.blocked(hours) as b;
        end if;
        if settled is null and expired is null then
            raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
                using errcode = 'AN001';
        end if;
    end if;
end
$$;
