-- The number of an hour in the key of its advisory lock: hours since 1970.
--
-- What reads a field of a time is stable, and only a function that does not claim more becomes part of
-- the expression that calls it.

create or replace function analytics.hour_number(hour timestamptz) returns integer
language sql stable parallel safe as $$ select (extract(epoch from hour) / 3600)::integer $$;
