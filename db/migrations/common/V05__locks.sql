-- The advisory locks of this schema, named. Each key is (class, number); a class is named by what it guards:
--   'hours'       number: hours since 1970. Shared by an ingest, exclusive for settling and reopening that hour.
--   'retention'   number: 0. Shared by an ingest, exclusive while accepts_from moves.
--   'settler'     number: 0. Held for as long as a connection is the one settler among the replicas.

create function analytics.lock_class(name text) returns integer
language sql immutable parallel safe as $$ select hashtext('analytics.' || name) $$;

create function analytics.hour_number(hour timestamptz) returns integer
language sql immutable parallel safe as $$ select (extract(epoch from hour) / 3600)::integer $$;
