-- The hours whose counts are final until an event comes late.

create table analytics.settled_hours (
    hour timestamptz primary key,
    settled_at timestamptz not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    events_missing_since timestamptz
);

comment on table analytics.settled_hours is
    'The counts of each hour that was settled, written down once the aggregate of its raw events equalled its counters. An hour without a row here is open, or has no event at all.';
comment on column analytics.settled_hours.events_missing_since is
    'Since when it is known that raw events of the hour are missing, so that it takes no more events. Null: not known.';

create index settled_hours_with_events_missing on analytics.settled_hours (hour) where events_missing_since is not null;
