-- Which chunk interval and which index on time? Stores the same events in hypertables that differ in nothing else, and
-- times what the product does with them. Run on an empty scratch database with TimescaleDB:
--
--   psql -X -q -f db/benches/chunks.sql "$DATABASE_URL"
--
-- Each figure is the median of three rounds, and the rounds of all variants are interleaved, so compare within one run only.
--   bulk_ms     one insert of 1,000,000 events in the order of time, over 20 hours
--   late_ms     500 inserts of 20 events each, spread over 240 past hours (the past lane)
--   current_ms  2,000 inserts of 64 events each into one hour (the present lane)
--   hour_ms     count(distinct user) of one hour among 20, as a refresh and a rebuild read it
--   mib         tables and indexes together

\set ON_ERROR_STOP on
set client_min_messages = warning;
set timezone = 'UTC';
create extension if not exists timescaledb;

drop schema if exists chunk_bench cascade;
create schema chunk_bench;
create table chunk_bench.results (variant text, measure text, ms numeric);
create table chunk_bench.variants (variant text, width interval, index_using text);
insert into chunk_bench.variants values
    ('1 hour, none', '1 hour', null),
    ('1 hour, brin', '1 hour', 'brin (at) with (pages_per_range = 32, autosummarize = on)'),
    ('1 day, none', '1 day', null),
    ('1 day, brin', '1 day', 'brin (at) with (pages_per_range = 32, autosummarize = on)'),
    ('1 day, btree', '1 day', 'btree (at desc)'),
    ('7 days, none', '7 days', null),
    ('7 days, brin', '7 days', 'brin (at) with (pages_per_range = 32, autosummarize = on)'),
    ('7 days, btree', '7 days', 'btree (at desc)');

create table chunk_bench.input as
select timestamptz '2026-03-02' + n * interval '72 ms' as at,
       case when n % 10 = 0 then 1 else 0 end as click,
       'user-' || (hashint4(n) & 65535) as user_name
from generate_series(1, 1000000) as n;

create procedure chunk_bench.run(of_variant text) language plpgsql as $$
declare
    v chunk_bench.variants;
    began timestamptz;
    base timestamptz;
begin
    select * into strict v from chunk_bench.variants where variant = of_variant;
    drop table if exists chunk_bench.events;
    create table chunk_bench.events (at timestamptz not null, click integer not null, user_name text collate "C" not null);
    perform create_hypertable('chunk_bench.events', by_range('at', v.width), create_default_indexes => false);
    if v.index_using is not null then
        execute 'create index on chunk_bench.events using ' || v.index_using;
    end if;
    commit;

    began := clock_timestamp();
    insert into chunk_bench.events select * from chunk_bench.input;
    commit;
    insert into chunk_bench.results values (of_variant, 'bulk_ms', extract(epoch from clock_timestamp() - began) * 1000);

    began := clock_timestamp();
    for i in 1..500 loop
        insert into chunk_bench.events
        select timestamptz '2026-02-10' + ((i * 7919 + n * 104729) % 240) * interval '1 hour', 0, 'late-' || n
        from generate_series(1, 20) as n;
        commit;
    end loop;
    insert into chunk_bench.results values (of_variant, 'late_ms', extract(epoch from clock_timestamp() - began) * 1000);

    began := clock_timestamp();
    base := timestamptz '2026-03-02 20:00';
    for i in 1..2000 loop
        insert into chunk_bench.events
        select base + i * interval '1 s' + n * interval '1 ms', 0, 'now-' || n from generate_series(1, 64) as n;
        commit;
    end loop;
    insert into chunk_bench.results values (of_variant, 'current_ms', extract(epoch from clock_timestamp() - began) * 1000);

    began := clock_timestamp();
    perform count(distinct user_name) from chunk_bench.events where at >= '2026-03-02 07:00' and at < '2026-03-02 08:00';
    insert into chunk_bench.results values (of_variant, 'hour_ms', extract(epoch from clock_timestamp() - began) * 1000);
    insert into chunk_bench.results values (of_variant, 'mib', hypertable_size('chunk_bench.events') / 1048576.0);
    commit;
end $$;

select format('call chunk_bench.run(%L)', variant) from generate_series(1, 3) as round, chunk_bench.variants order by round, variant \gexec

select variant,
       round(percentile_cont(0.5) within group (order by ms) filter (where measure = 'bulk_ms')) as bulk_ms,
       round(percentile_cont(0.5) within group (order by ms) filter (where measure = 'late_ms')) as late_ms,
       round(percentile_cont(0.5) within group (order by ms) filter (where measure = 'current_ms')) as current_ms,
       round((percentile_cont(0.5) within group (order by ms) filter (where measure = 'hour_ms'))::numeric, 1) as hour_ms,
       round(percentile_cont(0.5) within group (order by ms) filter (where measure = 'mib')) as mib
from chunk_bench.results group by variant order by variant;
drop schema chunk_bench cascade;
