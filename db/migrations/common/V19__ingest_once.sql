-- Events that are stored at most once, however often they are sent: those that came under an idempotency key, and those that
-- a daemon kept in a spool of its own while the database was away. Ordinary events never touch what is here.

-- The keys under which events of an hour were stored. They live as long as the raw events do, whether the hour is open or settled.
create table analytics.event_keys (
    hour timestamptz not null,
    key text collate "C" not null,
    -- Tells a repetition from another request under the same key.
    fingerprint bytea not null,
    primary key (hour, key)
);

-- How far each daemon's spool is stored. Written in the transaction of the events, so that a record is replayed exactly once.
create table analytics.spools (
    id text collate "C" primary key,
    stored_to bigint not null
);

-- Stores a batch as ingest does, and with it, in the same transaction,
--   key_hours, keys, fingerprints   the keys that its events came under, in each hour that they touch, each pair once, ascending;
--   spool, spool_from, spool_to     the spool that the batch was read from, and behind which record and up to which; all null for none.
--
-- Besides what ingest returns, it names by their place in the arrays, from 1, the keys that are there already:
--   repeated      with the same fingerprint: their events are stored, and must be left out;
--   conflicting   with another one.
-- All four are null when the batch is stored; otherwise nothing is.
--
-- Raises AN006 when another transaction stored one of the keys, or of the records, at the same moment: try again.
-- The keys are stored last and in order, so that two calls can wait for each other, but never in a circle.

create function analytics.ingest_once(
    writer bigint, batch bigint,
    times timestamptz[], users text[], clicks boolean[],
    hours timestamptz[], hour_clicks bigint[], hour_impressions bigint[],
    seen_hours timestamptz[], seen_users text[],
    key_hours timestamptz[], keys text[], fingerprints bytea[],
    spool text, spool_from bigint, spool_to bigint,
    out settled timestamptz[], out expired timestamptz[], out repeated bigint[], out conflicting bigint[]
)
language plpgsql as $$
declare
    claimed bigint;
begin
    select
        array_agg(k.n) filter (where e.fingerprint = k.fingerprint),
        array_agg(k.n) filter (where e.fingerprint <> k.fingerprint)
    into repeated, conflicting
    from unnest(key_hours, keys, fingerprints) with ordinality as k (hour, key, fingerprint, n)
    join analytics.event_keys as e on e.hour = k.hour and e.key = k.key;
    if repeated is not null or conflicting is not null then
        return;
    end if;

    select i.settled, i.expired into settled, expired
    from analytics.ingest(
        writer, batch, times, users, clicks, hours, hour_clicks, hour_impressions, seen_hours, seen_users) as i;
    if settled is not null or expired is not null then
        return;
    end if;

    insert into analytics.event_keys (hour, key, fingerprint)
    select * from unnest(key_hours, keys, fingerprints)
    on conflict do nothing;
    get diagnostics claimed = row_count;
    if claimed < cardinality(keys) then
        raise exception 'another transaction has just stored one of the keys' using errcode = 'AN006';
    end if;

    if spool is not null and not analytics.advance_spool(spool, spool_from, spool_to) then
        raise exception 'spool % is no longer stored up to record %: another transaction has stored more', spool, spool_from
            using errcode = 'AN006';
    end if;
end
$$;

-- Moves what is stored of a spool from one record to a later one; false if it does not stand at the first any more: a replay that was
-- given up may still be running, and whichever commits second must not store again what the other did.
create function analytics.advance_spool(spool text, stored_from bigint, stored_to bigint) returns boolean
language plpgsql as $$
begin
    if stored_from = 0 then
        insert into analytics.spools (id, stored_to) values (spool, advance_spool.stored_to) on conflict do nothing;
    else
        update analytics.spools as s set stored_to = advance_spool.stored_to
        where s.id = spool and s.stored_to = stored_from;
    end if;
    return found;
end
$$;

-- The keys of hours whose raw events are gone serve nothing any more: such an hour takes no events.
create function analytics.forget_expired_keys() returns void
language sql as $$
    delete from analytics.event_keys as k using analytics.settings as s where k.hour < s.accepts_from
$$;
