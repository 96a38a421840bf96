-- The self-audit: what an hour's raw events say, beside everything that is derived from them; and the repair of an hour whose
-- derived part is wrong.

-- The span from one hour to another, both included, in parts of one UTC day at most: those that can have anything to audit.
create function analytics.audited_parts(earliest timestamptz, latest timestamptz)
returns table (first_hour timestamptz, last_hour timestamptz)
language sql stable as $$
    select greatest(d.day, earliest), least(d.day + interval '23 hours', latest)
    from (
        select analytics.event_days()
        union
        select date_bin(interval '24 hours', c.hour, timestamptz 'epoch') from analytics.hour_counts as c
        where c.hour between earliest and latest
        union
        select date_bin(interval '24 hours', u.hour, timestamptz 'epoch') from analytics.hour_users as u
        where u.hour between earliest and latest
        union
        select date_bin(interval '24 hours', s.hour, timestamptz 'epoch') from analytics.settled_hours as s
        where s.hour between earliest and latest
    ) as d (day)
    where d.day between date_bin(interval '24 hours', earliest, timestamptz 'epoch') and latest
    order by 1
$$;

-- One row for each hour from the first to the last that has raw events, counters, users or a row in settled_hours. The span may be
-- a day at most, which bounds what one call reads.
--
-- Everything is read by one statement, so that it is seen at one instant, whatever is ingested, settled or reopened meanwhile. It is
-- planned with the span's values, so that no other partition or chunk is opened and locked.
create function analytics.audit(first_hour timestamptz, last_hour timestamptz)
returns table (
    hour timestamptz,
    -- False where raw events may have been deleted (see settings.accepts_from), so that nothing can be concluded from them.
    is_verifiable boolean,
    is_open boolean,
    is_settled boolean,
    raw_users bigint, raw_clicks bigint, raw_impressions bigint,
    -- Null where the hour is not open.
    counted_users bigint, counted_clicks bigint, counted_impressions bigint,
    -- Null where there is none. It may be old where the hour is not settled, since nobody reads it there.
    aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint,
    -- Rows of hour_users, which an hour has while it is open; names of raw events without such a row; rows whose name no raw event has.
    user_rows bigint, missing_users bigint, strange_users bigint
)
language plpgsql as $function$
begin
    if last_hour >= first_hour + interval '24 hours' then
        raise exception 'an audit covers 24 hours at most, and from % to % are more', first_hour, last_hour using errcode = 'AN005';
    end if;
    return query execute $$
        with raw as (
            select
                date_bin(interval '1 hour', e.at, timestamptz 'epoch') as hour,
                e.user_name,
                count(*) filter (where e.kind = 'click') as clicks,
                count(*) filter (where e.kind = 'impression') as impressions
            from analytics.events as e where e.at >= $1 and e.at < $2
            group by 1, 2
        ), seen as (
            select
                hour,
                count(r.user_name) as users,
                sum(r.clicks)::bigint as clicks,
                sum(r.impressions)::bigint as impressions,
                count(u.user_name) as user_rows,
                count(*) filter (where u.user_name is null) as missing_users,
                count(*) filter (where r.user_name is null) as strange_users
            from raw as r
            full join (select * from analytics.hour_users where hour >= $1 and hour < $2) as u using (hour, user_name)
            group by hour
        ), counted as (
            select
                hour,
                sum(unique_users)::bigint as users,
                sum(clicks)::bigint as clicks,
                sum(impressions)::bigint as impressions
            from analytics.hour_counts where hour >= $1 and hour < $2
            group by hour
        )
        select
            hour,
            hour >= s.accepts_from,
            c.hour is not null,
            z.hour is not null,
            coalesce(r.users, 0), coalesce(r.clicks, 0), coalesce(r.impressions, 0),
            c.users, c.clicks, c.impressions,
            a.unique_users, a.clicks, a.impressions,
            coalesce(r.user_rows, 0), coalesce(r.missing_users, 0), coalesce(r.strange_users, 0)
        from seen as r
        full join counted as c using (hour)
        full join (select * from analytics.settled_hours where hour >= $1 and hour < $2) as z using (hour)
        left join (select * from analytics.events_hourly where hour >= $1 and hour < $2) as a using (hour)
        cross join analytics.settings as s
        order by hour
    $$ using first_hour, last_hour + interval '1 hour';
end
$function$;

-- What reopening and repairing begin with. The locks are held to the end of the transaction, in the order in which an ingest takes
-- them: accepts_from does not move, and no ingest of the hour runs. Returns whether the hour's raw events are still all there.
create function analytics.lock_for_rebuild(hour timestamptz) returns boolean
language plpgsql as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuilding an hour must be done in a read committed transaction' using errcode = 'AN003';
    end if;
    perform pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0);
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(lock_for_rebuild.hour));
    return (select lock_for_rebuild.hour >= s.accepts_from from analytics.settings as s);
end
$$;

-- Makes users and counters of an hour that has none from its raw events; an hour without raw events goes on having none.
-- The raw events are read by statements that are planned with the hour's value, so that only its own partition or chunk is opened
-- and locked.
create function analytics.rebuild(hour timestamptz, writer bigint) returns void
language plpgsql as $function$
begin
    execute $$
        insert into analytics.hour_users (hour, user_name)
        select distinct $1, e.user_name from analytics.events as e where e.at >= $1 and e.at < $2
    $$ using hour, hour + interval '1 hour';

    execute $$
        insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at)
        select
            $1,
            $3,
            (select count(*) from analytics.hour_users as u where u.hour = $1),
            count(*) filter (where e.kind = 'click'),
            count(*) filter (where e.kind = 'impression'),
            now()
        from analytics.events as e where e.at >= $1 and e.at < $2
        having count(*) > 0
    $$ using hour, hour + interval '1 hour', writer;
end
$function$;

-- As before (see V16), and it leaves an hour alone whose raw events are deleted: an hour that was opened just as accepts_from moved
-- past it could never be settled again. The ingest that asked for it is told that the hour is expired.
create or replace function analytics.reopen(hour timestamptz, writer bigint) returns void
language plpgsql as $$
begin
    if not analytics.lock_for_rebuild(reopen.hour) then
        return;
    end if;
    delete from analytics.settled_hours as s where s.hour = reopen.hour;
    if found then
        perform analytics.rebuild(reopen.hour, reopen.writer);
    end if;
end
$$;

-- Replaces whatever is derived from an hour's raw events by what they say, in one transaction. The hour is open afterwards, or
-- has no rows at all if it has no raw events; the settler computes its aggregate again before that is read.
-- The counters go to writer 0, which no lane ever is.
--
-- Raises AN004 for an hour whose raw events may have been deleted: its counts are all that is left of it.
create function analytics.repair(hour timestamptz) returns void
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
end
$$;

-- As before (see V18), but it waits a tenth of a second at most: a rebuild holds the lock shared for seconds, and every ingest would
-- queue behind the one that waits for it exclusively. Where the moment does not come, the next run tries again.
create or replace function analytics.advance_retention() returns timestamptz
language plpgsql set lock_timeout = '100ms' as $$
declare
    wanted timestamptz;
begin
    select date_trunc('day', now() - s.retention, 'UTC') into wanted from analytics.settings as s;
    if wanted is not null then
        begin
            perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
            update analytics.settings as s
            set accepts_from = greatest(
                s.accepts_from,
                least(wanted, (select date_trunc('day', min(c.hour), 'UTC') from analytics.hour_counts as c)));
        exception when lock_not_available then
            raise notice 'accepts_from stays where it is, because an hour is being rebuilt';
        end;
    end if;
    return (select s.accepts_from from analytics.settings as s);
end
$$;
