-- Names, by their place in the arrays from 1, the sources that do not stand where the caller believes,
-- and where they do stand: at 0 without a digest where nothing is stored of them. All are null if each
-- stands where it should.

create or replace function analytics.sources_elsewhere(
    source_sites integer[], source_names text[], believed_positions bigint[], believed_digests bytea[],
    out moved bigint[], out positions bigint[], out digests bytea[]
)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(b.n order by b.n), array_agg(coalesce(s.position, 0) order by b.n), array_agg(s.digest order by b.n)
    from unnest(source_sites, source_names, believed_positions, believed_digests) with ordinality as b (site, name, position, digest, n)
    left join analytics.sources as s on s.site = b.site and s.name = b.name
    where coalesce(s.position, 0) <> b.position or s.digest is distinct from b.digest
$$;
