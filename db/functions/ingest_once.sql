-- Stores a batch as ingest does, and with it, in the same transaction,
--   key_hours, key_sites, keys,     the idempotency keys that its events came under, in each hour of each
--   fingerprints                    site that they touch, each once, ascending; the sites may be null;
--   source_sites, source_names,     the sources that the events come from, and from where to where they
--   from_positions, from_digests,   go in each: see advance_sources.
--   to_positions, to_digests
--
-- Besides what ingest returns, it names by their place in the arrays, from 1, the keys that are there
-- already:
--   repeated      with the same fingerprint: their events are stored, and must be left out;
--   conflicting   with another one;
-- and the sources that stand elsewhere, as sources_elsewhere does: moved, positions, digests.
-- All are null when the batch is stored; otherwise nothing is.
--
-- Raises AN006 when another transaction stored one of the keys, or moved one of the sources, at the same
-- moment: try again. The keys are stored last and in order, and the sources behind them, so that two
-- calls can wait for each other, but never in a circle.

create or replace function analytics.ingest_once(
    writer bigint, after_batch bigint, batch bigint,
    times timestamptz[], sites integer[], users text[], clicks boolean[],
    hours timestamptz[], hour_sites integer[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[], seen_sites integer[],
    key_hours timestamptz[], key_sites integer[], keys text[], fingerprints bytea[],
    source_sites integer[], source_names text[],
    from_positions bigint[], from_digests bytea[], to_positions bigint[], to_digests bytea[],
    out settled timestamptz[], out settled_sites integer[], out expired timestamptz[], out expired_sites integer[],
    out deleted integer[], out repeated bigint[], out conflicting bigint[],
    out moved bigint[], out positions bigint[], out digests bytea[]
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- The plan for the keys is made once, perhaps while the table is empty and was just analyzed, and then to read all of it looks cheapest.
set enable_seqscan = off
-- A table without an index is read whole all the same, at a price in the plan for which it would be compiled.
set jit = off
as $$
begin
    if cardinality(source_names) > 0 then
        -- Before the keys: those of a batch that is stored already are all there.
        select e.* into moved, positions, digests
        from analytics.sources_elsewhere(source_sites, source_names, from_positions, from_digests) as e;
        if moved is not null then
            return;
        end if;
    end if;

    select
        array_agg(k.n) filter (where e.fingerprint = k.fingerprint),
        array_agg(k.n) filter (where e.fingerprint <> k.fingerprint)
    into repeated, conflicting
    from unnest(key_hours, key_sites, keys, fingerprints) with ordinality as k (hour, site, key, fingerprint, n)
    -- Key by key: where nothing is known of the table, a join would read the whole index with every request.
    cross join lateral (
        select s.fingerprint from analytics.event_keys as s
        where s.hour = k.hour and s.site = coalesce(k.site, 0) and s.key = k.key limit 1
    ) as e;
    if repeated is not null or conflicting is not null then
        return;
    end if;

    select i.* into settled, settled_sites, expired, expired_sites, deleted
    from analytics.ingest(
        writer, after_batch, batch,
        times, sites, users, clicks, hours, hour_sites, hour_clicks, hour_impressions, seen_hours, seen_users, seen_sites) as i;
    if settled is not null or expired is not null or deleted is not null then
        return;
    end if;

    begin
        insert into analytics.event_keys (hour, site, key, fingerprint)
        select k.hour, coalesce(k.site, 0), k.key, k.fingerprint
        from unnest(key_hours, key_sites, keys, fingerprints) as k (hour, site, key, fingerprint);
    exception when unique_violation then
        raise exception 'another transaction has just stored one of the keys' using errcode = 'AN006';
    end;

    if cardinality(source_names) > 0 then
        select a.* into moved, positions, digests
        from analytics.advance_sources(source_sites, source_names, from_positions, from_digests, to_positions, to_digests) as a;
        if moved is not null then
            raise exception 'another transaction has just moved a source' using errcode = 'AN006';
        end if;
    end if;
end
$$;
