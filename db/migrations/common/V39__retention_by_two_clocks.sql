-- No clock deletes raw events by itself. A database whose clock was 500 days ahead for some seconds took all of them for due.
--
-- What is due is an instant of its own now, which events are compared with in place of the clock. It moves by no more than both clocks went on, the
-- daemon's and the database's, and by two days at most; a greater step is taken only when somebody confirms it. Raw events are deleted up to it, as
-- before: no further than every hour is settled.
--
-- Signatures stay, so that daemons of the version before go on; of theirs only the database's clock is known.

alter table analytics.settings
    -- No event before this instant is taken, and its raw events are due to be deleted.
    add column due_before timestamptz not null default '1970-01-01T00:00:00Z',
    -- What the two clocks said when it was moved; null: not known.
    add column due_by_database timestamptz,
    add column due_by_daemon timestamptz;

update analytics.settings set due_before = accepts_from;

-- As before (see V38), with that instant in place of takes_from.
create or replace function analytics.blocked(hours timestamptz[], out settled timestamptz[], out expired timestamptz[])
language sql stable as $$
    select
        (select array_agg(z.hour) from analytics.settled_hours as z
            where z.hour = any (hours) and z.hour >= s.takes_from and z.events_missing_since is null),
        (select array_agg(h) from unnest(hours) as h
            where h < s.takes_from
                or exists (select from analytics.settled_hours as z where z.hour = h and z.events_missing_since is not null))
    from (select greatest(accepts_from, due_before) from analytics.settings) as s (takes_from)
$$;

-- As before (see V34), with that instant, which no clock moves, in place of takes_from.
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
            and (is_checked or hours[1] >= (select greatest(s.accepts_from, s.due_before) from analytics.settings as s))
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

-- The first hour before an instant that has raw events and is neither open nor settled, because its counters were deleted by hand; null for none. It
-- is to be repaired before its raw events go. Most hours are settled, so that few are looked into.
create function analytics.first_uncounted_hour(instant timestamptz) returns timestamptz
language plpgsql as $function$
declare
    hour timestamptz;
    has_events boolean;
begin
    for hour in
        select h from analytics.event_days() as d (day), generate_series(d.day, d.day + interval '23 hours', interval '1 hour') as h
        where d.day < instant
            and not exists (select from analytics.settled_hours as s where s.hour = h)
            and not exists (select from analytics.hour_counts as c where c.hour = h)
        order by h
    loop
        execute 'select exists (select from analytics.events as e where e.at >= $1 and e.at < $2)'
            into has_events using hour, hour + interval '1 hour';
        if has_events then
            return hour;
        end if;
    end loop;
    return null;
end
$function$;

-- As before (see V21), by both clocks: moves what is due, then the instant up to which raw events may be deleted, and returns the latter.
-- Days are counted from midnight to midnight, so that it does not matter at which time of the day this is called.
create function analytics.advance_retention(daemon_clock timestamptz) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' set timezone = 'UTC' as $$
declare
    due timestamptz;
    uncounted timestamptz;
begin
    update analytics.settings as s set due_before = m.due_before, due_by_database = now(), due_by_daemon = daemon_clock
    from (
        select least(
            date_trunc('day', least(now(), daemon_clock) - o.retention),
            -- Null where a clock is not known, which is never the least.
            o.due_before + (date_trunc('day', now()) - date_trunc('day', o.due_by_database)),
            o.due_before + (date_trunc('day', daemon_clock) - date_trunc('day', o.due_by_daemon))) as due_before
        from analytics.settings as o where o.retention is not null
    ) as m
    where m.due_before > s.due_before and m.due_before <= s.due_before + interval '2 days';

    select s.due_before into due from analytics.settings as s where s.retention is not null and s.due_before > s.accepts_from;
    if found then
        begin
            -- No event before `due` is taken any more, so this can be looked for before ingests are locked out.
            uncounted := analytics.first_uncounted_hour(due);
            perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
            update analytics.settings as s
            set accepts_from = greatest(
                s.accepts_from,
                -- Null is neither the least nor the greatest.
                least(due, date_trunc('day', uncounted), (select date_trunc('day', min(c.hour)) from analytics.hour_counts as c)));
        exception when lock_not_available then
            raise notice 'accepts_from stays where it is, because an hour is being rebuilt';
        end;
    end if;
    return (select s.accepts_from from analytics.settings as s);
end
$$;

create or replace function analytics.advance_retention() returns timestamptz
language sql security definer set search_path = pg_catalog, pg_temp as $$ select analytics.advance_retention(now()) $$;

-- An operator's word that raw events are due as the setting says, however large a step that is. It is given on a machine whose clock must agree with
-- the database's: AN008 if it does not.
--
-- It also takes back what a wrong clock moved into the future, so that events are taken again: to where the setting says, or to the oldest raw events
-- that are left, or to today if none are.
create function analytics.confirm_retention(clock timestamptz) returns void
language plpgsql set timezone = 'UTC' as $$
declare
    earlier timestamptz := least(clock, now());
begin
    if abs(extract(epoch from clock - clock_timestamp())) > 600 then
        raise exception 'this machine''s clock says %, and the database''s %; what is due cannot be told until they agree',
            to_char(clock, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'AN008';
    end if;
    if exists (select from analytics.settings as s where s.accepts_from > earlier) then
        -- Ingests wait for this behind an hour that is being rebuilt; those of now are refused anyway.
        perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    end if;
    update analytics.settings as s set
        due_before = m.due_before,
        due_by_database = now(),
        due_by_daemon = clock,
        accepts_from = case
            when s.accepts_from <= earlier then s.accepts_from
            else greatest(m.due_before, least(date_trunc('day', earlier), (select min(d) from analytics.event_days() as d)))
        end
    from (
        select coalesce(date_trunc('day', earlier - o.retention), timestamptz 'epoch') as due_before from analytics.settings as o
    ) as m;
end
$$;
