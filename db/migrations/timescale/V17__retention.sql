-- How long raw events are kept, and how. Turning old chunks into columns is the extension's own policy; deleting them is not,
-- because it must never leave an hour half-counted (see advance_retention).

alter table analytics.events set (timescaledb.enable_columnstore, timescaledb.segmentby = '', timescaledb.orderby = 'at');

-- Chunks that ended longer ago than this are turned into columns; null: never.
create procedure analytics.set_columnstore_after(age interval)
language plpgsql as $$
begin
    call remove_columnstore_policy('analytics.events', if_exists => true);
    if age is not null then
        call add_columnstore_policy('analytics.events', after => age);
    end if;
end
$$;

call analytics.set_columnstore_after(interval '7 days');

create function analytics.columnstore_after() returns interval
language sql stable as $$
    select (config ->> 'compress_after')::interval
    from timescaledb_information.jobs
    where hypertable_schema = 'analytics' and hypertable_name = 'events' and proc_name in ('policy_compression', 'policy_columnstore')
$$;

-- Deletes the chunks that ended before an instant.
create procedure analytics.drop_events_before(instant timestamptz)
language plpgsql as $$ begin perform drop_chunks('analytics.events', older_than => instant); end $$;
