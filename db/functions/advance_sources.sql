-- Moves the positions up to which sources are stored, each from where its sender believes it to stand. A
-- source stands at a position with a digest of the content before it; at 0, without one, at first.
-- Sources come once each, ascending by site and name, so that two calls can wait for each other, but
-- never in a circle.
--
-- If any stands elsewhere nothing is moved, and those are returned as sources_elsewhere does. Raises
-- AN006 when another transaction moved one of them at the same moment: try again.

create or replace function analytics.advance_sources(
    source_sites integer[], source_names text[],
    from_positions bigint[], from_digests bytea[], to_positions bigint[], to_digests bytea[],
    out moved bigint[], out positions bigint[], out digests bytea[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    advanced bigint;
begin
    select e.* into moved, positions, digests
    from analytics.sources_elsewhere(source_sites, source_names, from_positions, from_digests) as e;
    if moved is not null then
        return;
    end if;
    insert into analytics.sources as s (site, name, position, digest)
    select a.site, a.name, a.to_position, a.to_digest
    from unnest(source_sites, source_names, to_positions, to_digests) as a (site, name, to_position, to_digest)
    on conflict (site, name) do update set position = excluded.position, digest = excluded.digest, advanced_at = now()
    where (s.position, s.digest) is not distinct from (
        select (f.position, f.digest)
        from unnest(source_sites, source_names, from_positions, from_digests) as f (site, name, position, digest)
        where f.site = s.site and f.name = s.name);
    get diagnostics advanced = row_count;
    if advanced <> cardinality(source_names) then
        raise exception 'another transaction has just moved a source' using errcode = 'AN006';
    end if;
end
$$;
