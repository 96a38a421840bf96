-- The hypertable makes its own chunks, so there is always room.

create function analytics.has_room(hour timestamptz) returns boolean
language sql immutable as $$ select true $$;
