-- The advisory locks of this schema, named. Each key is (class, number); a class is named by what it
-- guards:
--   'hours'       number: see hour_number. Shared by an ingest, exclusive for settling and reopening that
--                 hour.
--   'retention'   number: 0. Shared by an ingest, exclusive while accepts_from moves.
--   'visitors'    number: 0. Held while visitors are given numbers.
--   'settler'     number: 0. Held for as long as a connection is the one settler among the replicas.

create or replace function analytics.lock_class(name text) returns integer
language sql immutable parallel safe as $$ select hashtext('analytics.' || name) $$;
