-- What a writer has added to an hour of a site in its later row: see later_part.

create or replace function analytics.later_counts(
    hour timestamptz, site integer, writer bigint, out unique_users bigint, out clicks bigint, out impressions bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    select c.unique_users, c.clicks, c.impressions into unique_users, clicks, impressions
    from analytics.hour_counts as c
    where c.hour = later_counts.hour and c.site = later_counts.site and c.is_later and c.writer = later_counts.writer
    order by c.part desc limit 1;
end
$$;
