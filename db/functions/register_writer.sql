-- Registers a writer, and returns its number. A writer lives until it is fenced (when its lane ends, or
-- the fate of its last batch is unknown), and is deleted once it has been idle for a day.
--
-- Numbers are drawn at random. A sequence gives the same number twice where the database goes back to an
-- earlier state (a replica that lagged takes over, a backup is restored) while daemons run. Two lanes
-- would then share a row, and each would take the other's last batch for its own, so that a commit whose
-- answer was lost could be called not stored, and be stored again.

create or replace function analytics.register_writer() returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into analytics.writers (id)
    -- 48 random bits, those that come first in a random UUID. Not 0, which is nobody's.
    values (('x' || left(replace(gen_random_uuid()::text, '-', ''), 12))::bit(48)::bigint + 1)
    returning id
$$;
