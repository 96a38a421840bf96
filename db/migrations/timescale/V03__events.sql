-- Every event ever acknowledged, one row each: the truth that every count can be checked against.
--
-- One chunk a day. The default index on time is left out, because only the refresh or the rebuild of one hour reads by
-- time; the block-range index keeps those from reading the whole day and costs an insert next to nothing.
-- See ARCHITECTURE.md, "Chunks and indexes", for the figures.

insert into analytics.settings (flavour) values ('timescale');

create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    -- Byte by byte: two names are one user only if they are the same bytes, whatever the locale.
    user_name text collate "C" not null
);

select create_hypertable('analytics.events', by_range('at', interval '1 day'), create_default_indexes => false);

create index events_at on analytics.events using brin (at) with (pages_per_range = 32, autosummarize = on);
