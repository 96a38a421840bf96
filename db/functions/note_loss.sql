-- Records batches that a daemon knew to be committed and that the database no longer has.

create or replace function analytics.note_loss(writer bigint, batches bigint, events bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into analytics.losses (writer, batches, events) values (writer, batches, events)
$$;
