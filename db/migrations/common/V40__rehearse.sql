-- What tells a daemon whether an event could be stored now, and doctor what was lost; and rows of writers that no clock deletes by itself.
--
-- Signatures stay, so daemons of the version before go on.

-- Goes through the storing of an event of the daemon's current hour, undoes it, and commits nothing but the writer's number: every permission, every table,
-- the space for a row and the commit itself are tried, and no count changes. For a lane that has had nothing to store for a while, or whose last batch
-- failed. It has the rights of whoever calls it, so that theirs are tried too.
--
-- Raises what `ingest` raises, and AN009 where events of that hour are refused.
create function analytics.rehearse(writer bigint, after_batch bigint, batch bigint, at timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    current_hour timestamptz := date_bin(interval '1 hour', at, timestamptz 'epoch');
    -- Of its own, so that rehearsals of several lanes do not wait for one another.
    visitor text := writer;
    taken_from timestamptz;
    is_expired boolean;
begin
    begin
        -- What is assigned stays when the rest is undone.
        select i.expired is not null into is_expired
        from analytics.ingest(
            writer, after_batch, batch, array[at], array[visitor], array[true],
            array[current_hour], array[1::bigint], array[0::bigint], array[current_hour], array[visitor]) as i;
        raise exception 'this was a rehearsal' using errcode = 'AN010';
    exception when sqlstate 'AN010' then
        null;
    end;
    if is_expired then
        select greatest(s.accepts_from, s.due_before) into taken_from from analytics.settings as s;
        raise exception 'events before % are refused, because raw events are not kept so long, and it is now %', taken_from, at
            using errcode = 'AN009';
    end if;
    perform analytics.advance_writer(writer, after_batch, batch);
end
$$;

-- Notes that a writer stands behind a batch of no events. Raises AN001 as `ingest` does.
create function analytics.advance_writer(writer bigint, after_batch bigint, batch bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update analytics.writers as w set last_batch = advance_writer.batch, written_at = now()
    where w.id = advance_writer.writer and not w.fenced and w.last_batch = advance_writer.after_batch;
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

-- How often a writer was looked at without having stored anything since the last look. A clock alone does not tell that it is idle: where the clock
-- goes forward by a day, the row would go that says what became of a batch.
alter table analytics.writers
    add column batch_at_last_look bigint not null default 0,
    add column idle_looks integer not null default 0;

-- As before (see V12), where a writer was found idle at 24 looks, which the settler takes once an hour. One whose row is locked stores something.
create or replace function analytics.forget_idle_writers() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update analytics.writers as w
    set idle_looks = case when w.last_batch = w.batch_at_last_look then w.idle_looks + 1 else 0 end, batch_at_last_look = w.last_batch
    where w.id in (select o.id from analytics.writers as o for update skip locked);

    delete from analytics.writers as w
    where w.id in (
        select o.id from analytics.writers as o
        where o.idle_looks >= 24 and o.written_at < now() - interval '1 day' for update skip locked)
$$;
