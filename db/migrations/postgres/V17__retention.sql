-- How long raw events are kept. This flavour has no columnstore.

create procedure analytics.set_columnstore_after(age interval)
language plpgsql as $$
begin
    if age is not null then
        raise exception 'the columnstore belongs to TimescaleDB, and this schema was made without it' using errcode = 'AN002';
    end if;
end
$$;

create function analytics.columnstore_after() returns interval
language sql immutable as $$ select null::interval $$;

-- Deletes the partitions that ended before an instant. Taking one out of the table locks out inserts for a moment; where that
-- moment does not come within a tenth of a second, because something reads events, the next run tries again.
create procedure analytics.drop_events_before(instant timestamptz)
language plpgsql as $$
declare
    name text;
begin
    for name in
        select c.relname
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'analytics.events'::regclass
          and c.relname < format('events_%s', to_char(instant at time zone 'UTC', 'YYYYMMDD'))
        order by c.relname
    loop
        set local lock_timeout = '100ms';
        execute format('drop table analytics.%I', name);
        commit;
    end loop;
end
$$;
