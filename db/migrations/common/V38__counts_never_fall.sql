-- An acknowledged count never falls, whatever happens to raw events, short of an operator's explicit word. What was settled answers for an hour, and
-- what would rebuild an hour to less than it answered leaves it as it is.
--
-- Signatures stay, so that daemons of the version before go on. Ingests go on too while the first statements run; settling and reopening wait.

lock table analytics.settled_hours in share row exclusive mode;

update analytics.settled_hours as s
set unique_users = coalesce(a.unique_users, 0), clicks = coalesce(a.clicks, 0), impressions = coalesce(a.impressions, 0)
from analytics.settled_hours as o left join analytics.events_hourly as a on a.hour = o.hour
where o.hour = s.hour and s.unique_users is null;

alter table analytics.settled_hours validate constraint settled_hours_have_counts;

create or replace view analytics.hourly as
select
    hour,
    sum(unique_users)::bigint as unique_users,
    sum(clicks)::bigint as clicks,
    sum(impressions)::bigint as impressions
from analytics.hour_counts
group by hour
union all
select hour, unique_users, clicks, impressions from analytics.settled_hours;

-- As before (see V26), from the same tables.
create or replace function analytics.hours(first timestamptz, last timestamptz)
returns table (hour timestamptz, unique_users bigint, clicks bigint, impressions bigint, settled boolean)
language sql stable as $$
    select c.hour, sum(c.unique_users)::bigint, sum(c.clicks)::bigint, sum(c.impressions)::bigint, false
    from analytics.hour_counts as c
    where c.hour >= first and c.hour <= last
    group by c.hour
    union all
    select s.hour, s.unique_users, s.clicks, s.impressions, true
    from analytics.settled_hours as s
    where s.hour >= first and s.hour <= last
    order by hour
$$;

-- What is answered for an hour, zeros where nothing is. Of an hour that is open and settled at once, which no function makes, the greater numbers.
create function analytics.answer(hour timestamptz, out unique_users bigint, out clicks bigint, out impressions bigint)
language sql stable as $$
    select greatest(c.unique_users, s.unique_users), greatest(c.clicks, s.clicks), greatest(c.impressions, s.impressions)
    from (
        select
            coalesce(sum(o.unique_users), 0)::bigint as unique_users,
            coalesce(sum(o.clicks), 0)::bigint as clicks,
            coalesce(sum(o.impressions), 0)::bigint as impressions
        from analytics.hour_counts as o where o.hour = answer.hour
    ) as c, (
        select
            coalesce(max(o.unique_users), 0) as unique_users,
            coalesce(max(o.clicks), 0) as clicks,
            coalesce(max(o.impressions), 0) as impressions
        from analytics.settled_hours as o where o.hour = answer.hour
    ) as s
$$;

-- As before (see V21), and from here to the end of the transaction nobody can drop the hour's chunk or partition, or turn it into columns: that
-- empties tables at once, and a statement that began before would find neither the rows nor the columns.
create or replace function analytics.lock_for_rebuild(hour timestamptz) returns boolean
language plpgsql as $function$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuilding an hour must be done in a read committed transaction' using errcode = 'AN003';
    end if;
    perform pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0);
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(lock_for_rebuild.hour));
    -- It reads nothing, and locks what it would read.
    execute 'select from analytics.events as e where e.at >= $1 and e.at < $2 limit 0'
        using lock_for_rebuild.hour, lock_for_rebuild.hour + interval '1 hour';
    return (select lock_for_rebuild.hour >= s.accepts_from from analytics.settings as s);
end
$function$;

-- Replaces whatever is derived from an hour's raw events by what they say. Raises AN007, so that nothing changes, if any number would be less than
-- the least that is given.
create function analytics.rebuild_to_at_least(
    hour timestamptz, writer bigint, least_users bigint, least_clicks bigint, least_impressions bigint)
returns void
language plpgsql as $$
declare
    found_users bigint;
    found_clicks bigint;
    found_impressions bigint;
begin
    delete from analytics.settled_hours as s where s.hour = rebuild_to_at_least.hour;
    delete from analytics.hour_counts as c where c.hour = rebuild_to_at_least.hour;
    delete from analytics.hour_users as u where u.hour = rebuild_to_at_least.hour;
    perform analytics.rebuild(rebuild_to_at_least.hour, rebuild_to_at_least.writer);

    select a.unique_users, a.clicks, a.impressions into found_users, found_clicks, found_impressions
    from analytics.answer(rebuild_to_at_least.hour) as a;
    if found_users < least_users or found_clicks < least_clicks or found_impressions < least_impressions then
        raise exception 'the raw events of the hour % are % unique users, % clicks and % impressions, which is less than the %, % and % that are answered',
            to_char(rebuild_to_at_least.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            found_users, found_clicks, found_impressions, least_users, least_clicks, least_impressions
            using errcode = 'AN007';
    end if;
end
$$;

-- As before (see V21). An hour that the raw events left would make less of stays settled, and is known from then on to lack some: it takes no more
-- events, and is not rebuilt for the next one either.
create or replace function analytics.reopen(hour timestamptz, writer bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was record;
begin
    if not analytics.lock_for_rebuild(reopen.hour) then
        return;
    end if;
    select s.unique_users, s.clicks, s.impressions into was
    from analytics.settled_hours as s where s.hour = reopen.hour and s.events_missing_since is null;
    if not found then
        return;
    end if;
    begin
        perform analytics.rebuild_to_at_least(reopen.hour, reopen.writer, was.unique_users, was.clicks, was.impressions);
    exception when sqlstate 'AN007' then
        update analytics.settled_hours as s set events_missing_since = now() where s.hour = reopen.hour;
    end;
end
$$;

-- As before (see V34), and those of which raw events are missing are among the expired, which never take events.
create or replace function analytics.blocked(hours timestamptz[], out settled timestamptz[], out expired timestamptz[])
language sql stable as $$
    select
        (select array_agg(z.hour) from analytics.settled_hours as z
            where z.hour = any (hours) and z.hour >= s.takes_from and z.events_missing_since is null),
        (select array_agg(h) from unnest(hours) as h
            where h < s.takes_from
                or exists (select from analytics.settled_hours as z where z.hour = h and z.events_missing_since is not null))
    from (select analytics.takes_from(accepts_from, retention) from analytics.settings) as s (takes_from)
$$;

-- As before (see V24), and it raises AN007 where a number would fall, unless that is what is wanted.
create function analytics.repair(hour timestamptz, accepts_loss boolean) returns void
language plpgsql as $$
declare
    was record;
begin
    if not analytics.lock_for_rebuild(repair.hour) then
        raise exception 'the hour % cannot be rebuilt, because its raw events are no longer kept; its counts stay as they are',
            to_char(repair.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'AN004';
    end if;
    select * into was from analytics.answer(repair.hour);
    perform analytics.rebuild_to_at_least(
        repair.hour, 0,
        case when accepts_loss then 0 else was.unique_users end,
        case when accepts_loss then 0 else was.clicks end,
        case when accepts_loss then 0 else was.impressions end);
    perform analytics.fence_all_writers();
end
$$;

create or replace function analytics.repair(hour timestamptz) returns void
language sql as $$ select analytics.repair(repair.hour, false) $$;

-- As before (see V28), and the hour's numbers fall by what is deleted and no more: an hour that lacks other raw events keeps its counts, which name
-- nobody.
create or replace function analytics.forget(user_name text, hour timestamptz, out deleted bigint, out rebuilt boolean)
language plpgsql as $function$
declare
    was record;
    deleted_clicks bigint;
begin
    rebuilt := analytics.lock_for_rebuild(forget.hour);
    select * into was from analytics.answer(forget.hour);
    execute $$
        with gone as (
            delete from analytics.events as e where e.at >= $1 and e.at < $2 and e.user_name = $3 returning e.kind
        )
        select count(*), count(*) filter (where kind = 'click') from gone
    $$ into deleted, deleted_clicks using forget.hour, forget.hour + interval '1 hour', forget.user_name;
    if rebuilt and deleted > 0 then
        begin
            perform analytics.rebuild_to_at_least(
                forget.hour, 0, was.unique_users - 1, was.clicks - deleted_clicks, was.impressions - (deleted - deleted_clicks));
        exception when sqlstate 'AN007' then
            rebuilt := false;
            update analytics.settled_hours as s set events_missing_since = coalesce(s.events_missing_since, now())
            where s.hour = forget.hour;
            delete from analytics.hour_users as u where u.hour = forget.hour and u.user_name = forget.user_name;
        end;
        -- They know them to be among the hour's visitors.
        perform analytics.fence_all_writers();
    end if;
end
$function$;

-- As `audit` (see V21), with what is settled.
create function analytics.audit_hours(first_hour timestamptz, last_hour timestamptz)
returns table (
    hour timestamptz,
    -- False where raw events may have been deleted (see settings.accepts_from), so that nothing can be concluded from them.
    is_verifiable boolean,
    is_open boolean,
    is_settled boolean,
    raw_users bigint, raw_clicks bigint, raw_impressions bigint,
    -- Null where the hour is not open.
    counted_users bigint, counted_clicks bigint, counted_impressions bigint,
    -- Null where there is none. It may be old where the hour is not settled.
    aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint,
    -- Rows of hour_users, which an hour has while it is open; names of raw events without such a row; rows whose name no raw event has.
    user_rows bigint, missing_users bigint, strange_users bigint,
    -- Null where the hour is not settled.
    settled_users bigint, settled_clicks bigint, settled_impressions bigint,
    -- Whether it takes no events because raw events were found to be missing.
    is_closed boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
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
            coalesce(r.user_rows, 0), coalesce(r.missing_users, 0), coalesce(r.strange_users, 0),
            z.unique_users, z.clicks, z.impressions,
            z.events_missing_since is not null
        from seen as r
        full join counted as c using (hour)
        full join (select * from analytics.settled_hours where hour >= $1 and hour < $2) as z using (hour)
        left join (select * from analytics.events_hourly where hour >= $1 and hour < $2) as a using (hour)
        cross join analytics.settings as s
        order by hour
    $$ using first_hour, last_hour + interval '1 hour';
end
$function$;

create or replace function analytics.audit(first_hour timestamptz, last_hour timestamptz)
returns table (
    hour timestamptz, is_verifiable boolean, is_open boolean, is_settled boolean,
    raw_users bigint, raw_clicks bigint, raw_impressions bigint,
    counted_users bigint, counted_clicks bigint, counted_impressions bigint,
    aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint,
    user_rows bigint, missing_users bigint, strange_users bigint
)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select
        a.hour, a.is_verifiable, a.is_open, a.is_settled, a.raw_users, a.raw_clicks, a.raw_impressions,
        a.counted_users, a.counted_clicks, a.counted_impressions,
        a.aggregate_users, a.aggregate_clicks, a.aggregate_impressions, a.user_rows, a.missing_users, a.strange_users
    from analytics.audit_hours(first_hour, last_hour) as a
$$;
