-- Lets ingest see without a call whether the partition of an hour is there.
--
-- A function in SQL becomes part of the expression that calls it only if it claims no more than its body
-- does; else it is parsed and planned anew in every transaction, which took a tenth of the time of
-- storing one event. What formats a time is stable, not immutable.

create or replace function analytics.has_room(hour timestamptz) returns boolean
language sql stable as $$ select to_regclass('analytics.' || analytics.partition_of(hour)) is not null $$;
