-- Deletes what is stored of deleted sites of one day: raw events, keys, users and counters. Returns
-- whether there is more to do. What the aggregate has of them stays, where nobody finds it: a row of it
-- cannot be deleted.
--
-- The days go by in order. Behind the last one the settled counts, the names and sets of visitors and the
-- sources are deleted, and the site is done with: nobody can make any of it again, since it was deleted before this was called. A site that is deleted
-- meanwhile waits for the next call.

create or replace function analytics.forget_deleted_sites() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
    pending integer[] := array(select s.id from analytics.sites as s where s.deleted_at is not null and s.forgotten_at is null);
    day timestamptz;
    sites integer[];
begin
    if cardinality(pending) = 0 then
        return false;
    end if;
    select min(d.day) into day
    from analytics.sites as s
    join (
        select e.day from analytics.event_days() as e (day)
        union
        select date_bin(interval '24 hours', c.hour, timestamptz 'epoch') from analytics.hour_counts as c where c.site = any (pending)
    ) as d on s.forgotten_to is null or d.day > s.forgotten_to
    where s.id = any (pending);

    if day is null then
        -- Whoever read raw events of them before, to give numbers, has done so by now.
        perform pg_advisory_xact_lock(analytics.lock_class('visitors'), 0);
        delete from analytics.settled_hours as z where z.site = any (pending);
        delete from analytics.day_visitors as d where d.site = any (pending);
        delete from analytics.visitors as v where v.site = any (pending);
        delete from analytics.sources as s where s.site = any (pending);
        update analytics.sites as s set forgotten_at = now() where s.id = any (pending);
        return false;
    end if;

    sites := array(select s.id from analytics.sites as s where s.id = any (pending) and (s.forgotten_to is null or s.forgotten_to < day));
    delete from analytics.hour_counts as c where c.hour >= day and c.hour < day + interval '24 hours' and c.site = any (sites);
    delete from analytics.hour_users as u where u.hour >= day and u.hour < day + interval '24 hours' and u.site = any (sites);
    delete from analytics.event_keys as k where k.hour >= day and k.hour < day + interval '24 hours' and k.site = any (sites);
    -- However many events of the day are in columns. To PostgreSQL alone it is a name without a meaning.
    perform set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);
    -- Planned with its values, so that only the partition or chunk of the day is opened and locked.
    execute 'delete from analytics.events as e where e.at >= $1 and e.at < $2 and e.site = any ($3)'
        using day, day + interval '24 hours', sites;
    update analytics.sites as s set forgotten_to = day where s.id = any (sites);
    return true;
end
$function$;
