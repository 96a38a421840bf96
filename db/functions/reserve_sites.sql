-- Sees to it that no site gets a number up to this one: other shards of the counter know sites with them,
-- as where this shard was restored from a backup that is older than the sites.

create or replace function analytics.reserve_sites(up_to integer) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select setval('analytics.sites_id_seq', up_to) from analytics.sites_id_seq as s where s.last_value < up_to
$$;
