-- What tells a daemon whether an event could be stored now, and doctor what was lost.
--
-- New functions and a new table, so daemons of the version before go on.

-- Goes through the storing of an event of the current hour, undoes it, and commits nothing but the writer's number: every permission, every table, the space
-- for a row and the commit itself are tried, and no count changes. For a lane that has had nothing to store for a while, or whose last batch failed.
--
-- Raises what `ingest` raises, and AN009 where events of the current hour are refused.
create function analytics.rehearse(writer bigint, after_batch bigint, batch bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    current_hour timestamptz := date_bin(interval '1 hour', now(), timestamptz 'epoch');
    -- Of its own, so that rehearsals of several lanes do not wait for one another.
    visitor text := writer;
    taken_from timestamptz;
    is_expired boolean;
begin
    begin
        -- What is assigned stays when the rest is undone.
        select i.expired is not null into is_expired
        from analytics.ingest(
            writer, after_batch, batch, array[now()], array[visitor], array[true],
            array[current_hour], array[1::bigint], array[0::bigint], array[current_hour], array[visitor]) as i;
        raise exception 'this was a rehearsal' using errcode = 'AN008';
    exception when sqlstate 'AN008' then
        null;
    end;
    if is_expired then
        select greatest(s.accepts_from, s.due_before) into taken_from from analytics.settings as s;
        raise exception 'events before % are refused, because raw events are not kept so long, and it is now %', taken_from, now()
            using errcode = 'AN009';
    end if;

    update analytics.writers as w set last_batch = rehearse.batch, written_at = now()
    where w.id = rehearse.writer and not w.fenced and w.last_batch = rehearse.after_batch;
    if not found then
        raise exception 'writer % is not registered, was fenced off, or stands behind another batch than %', writer, after_batch
            using errcode = 'AN001';
    end if;
end
$$;

-- Batches that daemons had been told are committed, and that the database did not have any more: a standby that lagged behind was promoted, or a backup
-- was restored under them.
create table analytics.losses (
    noticed_at timestamptz not null default now(),
    writer bigint not null,
    batches bigint not null,
    events bigint not null
);

create function analytics.note_loss(writer bigint, batches bigint, events bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into analytics.losses (writer, batches, events) values (writer, batches, events)
$$;
