-- Makes the partitions that the given hours will be stored in, where they are missing.
--
-- `create table … partition of` would lock the whole of events against every other insert. A table that is made on its
-- own and then attached takes a lock that inserts do not wait for; the check constraint spares the attachment its scan.
-- That lock is taken first, so that two writers that miss the same day take turns. It is a lock on the table and not an
-- advisory one, because only the former makes the session forget that it has just seen the partition missing.

create function analytics.make_room(hours timestamptz[]) returns void
language plpgsql as $$
declare
    missing date[];
    day date;
    name text;
begin
    select array_agg(distinct d order by d) into missing
    from unnest(hours) h, lateral (select (h at time zone 'UTC')::date) as days (d)
    where to_regclass(format('analytics.events_%s', to_char(d, 'YYYYMMDD'))) is null;

    if missing is null then
        return;
    end if;

    lock table analytics.events in share update exclusive mode;
    foreach day in array missing loop
        name := format('events_%s', to_char(day, 'YYYYMMDD'));
        continue when to_regclass(format('analytics.%I', name)) is not null;
        execute format(
            'create table analytics.%I (like analytics.events including defaults, '
            'constraint holds_one_utc_day check (at >= %L and at < %L))',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
        execute format(
            'alter table analytics.events attach partition analytics.%I for values from (%L) to (%L)',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
        -- The partition's bounds say the same from here on.
        execute format('alter table analytics.%I drop constraint holds_one_utc_day', name);
    end loop;
end
$$;
