-- Raw events, and what the settler computes of them.
--
-- There is no default partition, because attaching a partition would have to lock and scan it. Only the refresh or the
-- rebuild of one hour reads by time: the block-range index keeps those from reading the whole day and costs an insert
-- next to nothing. See ARCHITECTURE.md, "Chunks and indexes", for the figures.

insert into analytics.settings (flavour) values ('postgres');

create table analytics.events (
    at timestamptz not null,
    kind analytics.event_kind not null,
    site integer not null default 0,
    user_name text collate "C" not null
) partition by range (at);

comment on table analytics.events is
    'Every event ever acknowledged, one row each: the truth that every count can be checked against. One partition a UTC day, made by make_room.';
comment on column analytics.events.user_name is
    'Compared byte by byte: two names are one user only if they are the same bytes, whatever the locale.';

create index events_at on analytics.events using brin (at) with (pages_per_range = 32, autosummarize = on);

create table analytics.events_hourly (
    hour timestamptz not null,
    site integer not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    primary key (hour, site)
);

comment on table analytics.events_hourly is
    'The counts of whole hours of each site, computed from the raw events by the settler: what an hour''s counters are compared with before it is settled.';
