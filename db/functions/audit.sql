-- One row for each hour of each site, from the first hour to the last, that has raw events, counters,
-- users or a row in `settled_hours`: what its raw events say, beside everything that is derived from them.
-- The span may be a day at most, which bounds what one call reads; raises AN005 for more. Only of the site
-- that is given, or of all that are not deleted.
--
-- One statement reads everything, so that it sees one instant, whatever is ingested, settled or reopened
-- meanwhile. It is planned with the span's values, so that no other partition or chunk is opened and
-- locked.

create or replace function analytics.audit(first_hour timestamptz, last_hour timestamptz, only_site integer)
returns table (
    hour timestamptz,
    site integer,
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
    -- How many visitors the set of a settled hour has; null where none is kept.
    visitors_in_set bigint,
    -- Whether it takes no events because raw events were found to be missing.
    is_closed boolean,
    -- Names of raw events that belong to another shard of the counter.
    foreign_users bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
    this record;
begin
    if last_hour >= first_hour + interval '24 hours' then
        raise exception 'an audit covers 24 hours at most, and from % to % are more', first_hour, last_hour using errcode = 'AN005';
    end if;
    -- Of a counter of one database no name is looked at: what is compared is a constant for the planner.
    select s.shard, s.shards into this from analytics.settings as s;
    return query execute $$
        with raw as (
            select
                date_bin(interval '1 hour', e.at, timestamptz 'epoch') as hour,
                e.site,
                e.user_name,
                count(*) filter (where e.kind = 'click') as clicks,
                count(*) filter (where e.kind = 'impression') as impressions
            from analytics.events as e where e.at >= $1 and e.at < $2 and ($3 is null or e.site = $3) and e.site <> all ($4)
            group by 1, 2, 3
        ), seen as (
            select
                hour,
                site,
                count(r.user_name) as users,
                sum(r.clicks)::bigint as clicks,
                sum(r.impressions)::bigint as impressions,
                count(u.user_name) as user_rows,
                count(*) filter (where u.user_name is null) as missing_users,
                count(*) filter (where r.user_name is null) as strange_users,
                count(*) filter (where $6 > 1 and analytics.shard_of(r.user_name, $6) <> $5) as foreign_users
            from raw as r
            full join (
                select * from analytics.hour_users
                where hour >= $1 and hour < $2 and ($3 is null or site = $3) and site <> all ($4)
            ) as u using (hour, site, user_name)
            group by hour, site
        ), counted as (
            select
                hour,
                site,
                sum(unique_users)::bigint as users,
                sum(clicks)::bigint as clicks,
                sum(impressions)::bigint as impressions
            from analytics.hour_counts where hour >= $1 and hour < $2 and ($3 is null or site = $3) and site <> all ($4)
            group by hour, site
        )
        select
            hour,
            site,
            hour >= s.accepts_from,
            c.hour is not null,
            z.hour is not null,
            coalesce(r.users, 0), coalesce(r.clicks, 0), coalesce(r.impressions, 0),
            c.users, c.clicks, c.impressions,
            a.unique_users, a.clicks, a.impressions,
            coalesce(r.user_rows, 0), coalesce(r.missing_users, 0), coalesce(r.strange_users, 0),
            z.unique_users, z.clicks, z.impressions,
            analytics.set_cardinality(z.visitors),
            z.events_missing_since is not null,
            coalesce(r.foreign_users, 0)
        from seen as r
        full join counted as c using (hour, site)
        full join (
            select * from analytics.settled_hours where hour >= $1 and hour < $2 and ($3 is null or site = $3) and site <> all ($4)
        ) as z using (hour, site)
        left join (select * from analytics.events_hourly where hour >= $1 and hour < $2) as a using (hour, site)
        cross join analytics.settings as s
        order by hour, site
    $$ using first_hour, last_hour + interval '1 hour', only_site,
        array(select d.id from analytics.sites as d where d.deleted_at is not null), this.shard, this.shards;
end
$function$;
