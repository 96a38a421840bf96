-- The hypertable makes its own chunks, so there is nothing to do.

create function analytics.make_room(hours timestamptz[]) returns void
language plpgsql as $$ begin end $$;
