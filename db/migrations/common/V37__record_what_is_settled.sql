-- An hour's counts are written down where it is settled. Until now only the aggregate had them, and whoever dropped, refreshed or made anew the
-- aggregate after raw events were gone changed what was answered.
--
-- Daemons of the version before go on: what inserts here is a function of this schema. A call of the old one that is under way fails by the
-- constraint, and the hour is settled a minute later. The next migration fills in what was settled before.

alter table analytics.settled_hours
    add column unique_users bigint,
    add column clicks bigint,
    add column impressions bigint,
    -- Since when it is known that raw events of the hour are missing, so that it takes no more events. Null: not known.
    add column events_missing_since timestamptz,
    add constraint settled_hours_have_counts
        check (unique_users is not null and clicks is not null and impressions is not null) not valid;

create index settled_hours_with_events_missing on analytics.settled_hours (hour) where events_missing_since is not null;

-- As before (see V15), and the counts are written down.
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
