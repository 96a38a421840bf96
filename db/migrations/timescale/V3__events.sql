-- Raw events, and what the database computes of them.
--
-- The default index on time is left out, because only the refresh or the rebuild of one hour reads by time; the
-- block-range index keeps those from reading the whole day and costs an insert next to nothing. See ARCHITECTURE.md,
-- "Chunks and indexes", for the figures.

insert into analytics.settings (flavour) values ('timescale');

create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    site integer not null default 0,
    user_name text collate "C" not null
);

comment on table analytics.events is
    'Every event ever acknowledged, one row each: the truth that every count can be checked against. One chunk a UTC day, made by make_room.';
comment on column analytics.events.user_name is
    'Compared byte by byte: two names are one user only if they are the same bytes, whatever the locale.';

select create_hypertable('analytics.events', by_range('at', interval '1 day'), create_default_indexes => false);

create index events_at on analytics.events using brin (at) with (pages_per_range = 32, autosummarize = on);

-- Never real-time: open hours have counters, which are exact at once and cost the same however many events the hour
-- holds. One chunk for three years of hours, since reading one hour costs more the more chunks there are.
create materialized view analytics.events_hourly
with (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.chunk_interval = '3 years') as
select
    time_bucket(interval '1 hour', at) as hour,
    site,
    count(distinct user_name) as unique_users,
    count(*) filter (where kind = 'click') as clicks,
    count(*) filter (where kind = 'impression') as impressions
from analytics.events
group by 1, 2
with no data;

comment on view analytics.events_hourly is
    'The counts of whole hours of each site, computed from the raw events by the extension: what an hour''s counters are compared with before it is settled.';

-- Turning old chunks into columns is the extension's own policy; deleting them is not, because that must never leave an
-- hour half-counted (see functions/advance_retention.sql).
alter table analytics.events set (timescaledb.enable_columnstore, timescaledb.segmentby = 'site', timescaledb.orderby = 'at');
call add_columnstore_policy('analytics.events', after => interval '7 days');

create table analytics.foreign_chunks (
    range_start timestamptz primary key,
    range_end timestamptz not null,
    chunk text not null
);

comment on table analytics.foreign_chunks is
    'Chunks that the extension made, under names of its own: those of an insert by hand, or of another length than a day. A row says where to look, and not that the chunk is still there. The extension''s own catalog would say that, but is another in each of its versions.';
comment on column analytics.foreign_chunks.chunk is 'A name, as text: a dump can be loaded before the chunk is there.';
