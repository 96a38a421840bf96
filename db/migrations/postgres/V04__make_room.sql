-- Makes the partitions that the given hours will be stored in, where they are missing.
--
-- `create table … partition of` would lock the whole of events against every other insert. A table that is made on its
-- own and then attached takes a lock that inserts do not wait for; the check constraint spares the attachment its scan.
-- That lock is taken first, so that two writers that miss the same day take turns. It is a lock on the table and not an
-- advisory one, because only the former makes the session forget that it has just seen the partition missing.

create function analytics.make_room(hours timestamptz[]) returns void
language plpgsql as $$
declare
    hour timestamptz;
begin
    foreach hour in array hours loop
        if to_regclass('analytics.' || analytics.partition_of(hour)) is null then
            lock table analytics.events in share update exclusive mode;
            perform analytics.make_partition(hour);
        end if;
    end loop;
end
$$;

-- The name of the partition that holds an hour, without its schema: events_20150517.
create function analytics.partition_of(hour timestamptz) returns text
language sql immutable as $$ select 'events_' || to_char(hour at time zone 'UTC', 'YYYYMMDD') $$;

create function analytics.make_partition(hour timestamptz) returns void
language plpgsql as $$
declare
    name text := analytics.partition_of(hour);
    first_instant timestamptz := date_bin(interval '1 day', hour, timestamptz 'epoch');
    last_instant timestamptz := first_instant + interval '24 hours';
begin
    if to_regclass('analytics.' || name) is not null then
        return;
    end if;
    execute format(
        'create table analytics.%I (like analytics.events including defaults, '
        'constraint holds_one_utc_day check (at >= %L and at < %L))', name, first_instant, last_instant);
    execute format(
        'alter table analytics.events attach partition analytics.%I for values from (%L) to (%L)',
        name, first_instant, last_instant);
    -- The partition's bounds say the same from here on.
    execute format('alter table analytics.%I drop constraint holds_one_utc_day', name);
end
$$;
