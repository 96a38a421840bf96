-- Notes whether old versions of a writer's row are removed: if so, the row stays on its page. Ingest asks
-- this once in 256 batches, whose versions fill several pages.

create or replace function analytics.look_for_old_versions(writer bigint, batch bigint) returns void
language sql as $$
    update analytics.writers as w
    set page = (w.ctid::text::point)[0], is_crowded = coalesce(w.page <> (w.ctid::text::point)[0], false)
    where w.id = look_for_old_versions.writer and w.part = look_for_old_versions.batch >> 8
$$;
