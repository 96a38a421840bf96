-- Why a batch would be refused for good if it came now, and where its source stands: for a batch that is
-- cut over several databases, each of which is asked before any of them stores its part. Each is null
-- where there is nothing of the kind.
--   expired, expired_sites   hours that take no events (see blocked);
--   deleted                  sites that take none;
--   conflicting              the keys, by their place in the arrays, from 1, under which other events are
--                            stored;
--   repeated                 how many of the keys have the same events stored already;
--   stands_at, stands_digest where the source stands.
--
-- Nothing is locked, so that the answer may be old at once: ingest_once finds that out.

create or replace function analytics.refusals(
    hours timestamptz[], hour_sites integer[],
    key_hours timestamptz[], key_sites integer[], keys text[], fingerprints bytea[],
    source_site integer, source_name text,
    out expired timestamptz[], out expired_sites integer[], out deleted integer[], out conflicting bigint[], out repeated bigint,
    out stands_at bigint, out stands_digest bytea
)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select
        b.expired, b.expired_sites, b.deleted, c.conflicting, c.repeated, s.position, s.digest
    from analytics.blocked(hours, hour_sites) as b
    cross join (
        select array_agg(k.n) filter (where e.fingerprint <> k.fingerprint), count(*) filter (where e.fingerprint = k.fingerprint)
        from unnest(key_hours, key_sites, keys, fingerprints) with ordinality as k (hour, site, key, fingerprint, n)
        cross join lateral (
            select s.fingerprint from analytics.event_keys as s
            where s.hour = k.hour and s.site = coalesce(k.site, 0) and s.key = k.key limit 1
        ) as e
    ) as c (conflicting, repeated)
    left join analytics.sources as s on s.site = source_site and s.name = source_name
$$;
