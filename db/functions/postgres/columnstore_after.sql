-- This flavour has no columnstore.

create or replace function analytics.columnstore_after() returns interval
language sql immutable as $$ select null::interval $$;
