-- The age at which chunks are turned into columns; null: never.

create or replace function analytics.columnstore_after() returns interval
language sql stable as $$
    select (config ->> 'compress_after')::interval
    from timescaledb_information.jobs
    where hypertable_schema = 'analytics' and hypertable_name = 'events' and proc_name in ('policy_compression', 'policy_columnstore')
$$;
