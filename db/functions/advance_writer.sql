-- Records that a writer stands behind a batch of no events. Raises AN001 as ingest does.

create or replace function analytics.advance_writer(writer bigint, after_batch bigint, batch bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update analytics.writers as w set last_batch = advance_writer.batch, part = advance_writer.batch >> 8, written_at = now()
    where w.id = advance_writer.writer and w.part = advance_writer.after_batch >> 8 and not w.fenced and w.last_batch = advance_writer.after_batch;
    if not found then
        raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
            using errcode = 'AN001';
    end if;
end
$$;
