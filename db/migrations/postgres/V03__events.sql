-- Every event ever acknowledged, one row each: the truth that every count can be checked against.
--
-- One partition a UTC day, made by make_room. There is no default partition, because attaching a partition would have
-- to lock and scan it. Only the refresh or the rebuild of one hour reads by time: the block-range index keeps those from
-- reading the whole day and costs an insert next to nothing. See ARCHITECTURE.md, "Chunks and indexes", for the figures.

insert into analytics.settings (flavour) values ('postgres');

create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    -- Byte by byte: two names are one user only if they are the same bytes, whatever the locale.
    user_name text collate "C" not null
) partition by range (at);

create index events_at on analytics.events using brin (at) with (pages_per_range = 32, autosummarize = on);
