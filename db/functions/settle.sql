-- Settles an hour of each of the given sites of which three witnesses agree: the counters, the aggregate
-- that refresh_hour computed from the raw events, and the set of visitors that the caller made of what
-- number_visitors returned. Its `names` say whether the set is of the same visitors still.
--
-- Returns a row for each of them whose hour was open and that is not deleted, with all sides, and whether
-- it is settled now. Where they differ nothing changes: either events came in since the refresh (the
-- counters moved), or a visitor was forgotten, or something is wrong with the data. The counts of a settled
-- hour are written down here, since the aggregate changes if somebody refreshes it, or makes it anew, after
-- raw events are gone.

create or replace function analytics.settle(hour timestamptz, sites integer[], visitors bytea[], names bigint[])
returns table (
    site integer, is_settled boolean, visitors_in_set bigint, is_set_of_all boolean,
    counted_users bigint, counted_clicks bigint, counted_impressions bigint,
    aggregate_users bigint, aggregate_clicks bigint, aggregate_impressions bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'settle must run in a read committed transaction' using errcode = 'AN003';
    end if;

    -- From here to the commit no site is deleted and no ingest of this hour runs; the statement below sees all that have run.
    perform pg_advisory_xact_lock_shared(analytics.lock_class('retention'), 0);
    perform pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number(settle.hour));

    return query
    with given as (
        select g.site, g.visitors, g.names from unnest(settle.sites, settle.visitors, settle.names) as g (site, visitors, names)
    ), seen as (
        select u.site, bit_xor(hashtextextended(u.user_name, 0)) as names
        from analytics.hour_users as u where u.hour = settle.hour and u.site = any (settle.sites)
        group by u.site
    ), counted as (
        select c.site, sum(c.unique_users)::bigint as users, sum(c.clicks)::bigint as clicks, sum(c.impressions)::bigint as impressions
        from analytics.hour_counts as c
        where c.hour = settle.hour and c.site = any (settle.sites)
            and not exists (select from analytics.sites as d where d.id = c.site and d.deleted_at is not null)
        group by c.site
    ), compared as (
        select
            c.site, c.users, c.clicks, c.impressions, a.unique_users, a.clicks as aggregate_clicks, a.impressions as aggregate_impressions,
            g.visitors, analytics.set_cardinality(g.visitors) as visitors_in_set, g.names is not distinct from s.names as is_set_of_all,
            (c.users, c.clicks, c.impressions) is not distinct from (a.unique_users, a.clicks, a.impressions) as is_equal
        from counted as c
        left join given as g on g.site = c.site
        left join seen as s on s.site = c.site
        left join analytics.events_hourly as a on a.hour = settle.hour and a.site = c.site
    ), settled as (
        insert into analytics.settled_hours (site, hour, settled_at, unique_users, clicks, impressions, visitors)
        select c.site, settle.hour, now(), c.users, c.clicks, c.impressions, c.visitors
        from compared as c where c.is_equal and c.is_set_of_all and c.visitors_in_set = c.users
        returning site
    ), without_counts as (
        delete from analytics.hour_counts as c where c.hour = settle.hour and c.site = any (array(select s.site from settled as s))
    ), without_users as (
        -- The hour's users are read once, whatever is known of the tables.
        delete from analytics.hour_users as u where u.hour = settle.hour and u.site = any (array(select s.site from settled as s))
    )
    select
        c.site, z.site is not null, c.visitors_in_set, c.is_set_of_all, c.users, c.clicks, c.impressions, c.unique_users, c.aggregate_clicks, c.aggregate_impressions
    from compared as c left join settled as z on z.site = c.site;

    perform analytics.change_day(settle.hour, array(
        select z.site from analytics.settled_hours as z where z.site = any (settle.sites) and z.hour = settle.hour));
end
$$;
