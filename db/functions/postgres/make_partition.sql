-- Makes the partition of an hour's UTC day. The lock of make_room must be held.

create or replace function analytics.make_partition(hour timestamptz) returns void
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
