-- Settles an hour if, and only if, the aggregate computed from its raw events equals its counters. Call
-- refresh_hour first.
--
-- Returns one row with both sides, and whether the hour is settled now; no row where the hour was not
-- open. Where they differ nothing changes: either events came in since the refresh (the counters moved),
-- or something is wrong with the data. The counts of a settled hour are written down here, since the
-- aggregate changes if somebody refreshes it, or makes it anew, after raw events are gone.

create or replace function analytics.settle(hour timestamptz)
returns table (
    is_settled boolean,
    counted_users bigint, counted_clicks bigint, counted_impressions bigint,
    aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'settle must run in a read committed transaction' using errcode = 'AN003';
    end if;

    -- From here to the commit no ingest of this hour runs; the statements below see all that have run.
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(settle.hour));

    select sum(c.unique_users), sum(c.clicks), sum(c.impressions)
    into counted_users, counted_clicks, counted_impressions
    from analytics.hour_counts as c where c.hour = settle.hour
    having count(*) > 0;
    if not found then
        return;
    end if;

    select a.unique_users, a.clicks, a.impressions
    into aggregate_users, aggregate_clicks, aggregate_impressions
    from analytics.events_hourly as a where a.hour = settle.hour;

    is_settled := (counted_users, counted_clicks, counted_impressions)
        is not distinct from (aggregate_users, aggregate_clicks, aggregate_impressions);
    if is_settled then
        insert into analytics.settled_hours (hour, settled_at, unique_users, clicks, impressions)
        values (settle.hour, now(), counted_users, counted_clicks, counted_impressions);
        delete from analytics.hour_counts as c where c.hour = settle.hour;
        delete from analytics.hour_users as u where u.hour = settle.hour;
    end if;
    return next;
end
$$;
