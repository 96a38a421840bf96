-- Moves the instant before which events are due to be deleted (`due_before`), then the instant up to
-- which raw events may be deleted (`accepts_from`), and returns the latter.
--
-- No clock deletes raw events by itself. A database whose clock was 500 days ahead for some seconds
-- took all of them for due. So `due_before` moves by no more than both clocks went on, the daemon's and
-- the database's, and by two days at most; a greater step is taken only when somebody confirms it (see
-- confirm_retention). In the other shards of a counter it is that of shard 0: see take_retention.
--
-- `accepts_from` moves no further than every hour is settled, since an hour must be settled before its
-- raw events go. It moves by whole UTC days, which is what chunks and partitions hold, and never back.
-- No ingest runs meanwhile, so none stores an event that is then deleted. Days are counted from midnight
-- to midnight, so that it does not matter at which time of the day this is called. Call it again as long
-- as what it returns moves.
--
-- It waits a tenth of a second at most: a rebuild holds the lock shared for seconds, and every ingest
-- would queue behind the one that waits for it exclusively. If it does not get the lock, the next run
-- tries again.

create or replace function analytics.advance_retention(daemon_clock timestamptz) returns timestamptz
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
        from analytics.settings as o where o.retention is not null and o.shard = 0
    ) as m
    where m.due_before > s.due_before and m.due_before <= s.due_before + interval '2 days';

    select s.due_before into due from analytics.settings as s where s.retention is not null and s.due_before > s.accepts_from;
    if found then
        -- With sites, the raw events of each day are read before the day is let go (see first_uncounted_hour): two a call.
        if exists (select from analytics.sites) then
            select least(due, min(d.day) + interval '2 days') into due
            from analytics.settings as s, analytics.event_days() as d (day) where d.day >= s.accepts_from;
        end if;
        begin
            -- No event before `due` is taken any more, so this can be looked for before ingests are locked out.
            uncounted := analytics.first_uncounted_hour(due);
            perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
            update analytics.settings as s
            set accepts_from = greatest(
                s.accepts_from,
                -- Null is neither the least nor the greatest.
                least(due, date_trunc('day', uncounted), (
                    select date_trunc('day', min(c.hour)) from analytics.hour_counts as c
                    where c.site not in (select d.id from analytics.sites as d where d.deleted_at is not null))));
        exception when lock_not_available then
            raise notice 'accepts_from stays where it is, because an hour is being rebuilt';
        end;
    end if;
    return (select s.accepts_from from analytics.settings as s);
end
$$;
