-- The hours whose counts are final until an event comes late.

create table analytics.settled_hours (
    site integer not null default 0,
    hour timestamptz not null,
    settled_at timestamptz not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    events_missing_since timestamptz,
    visitors bytea,
    -- The hours of a site lie side by side, since they are read as ranges.
    primary key (site, hour)
)
-- Sets of visitors lie elsewhere, but for very small ones, so that a range of counts is read from few pages.
with (toast_tuple_target = 128);

-- They are compressed already.
alter table analytics.settled_hours alter column visitors set storage external;

comment on table analytics.settled_hours is
    'The counts of each hour of each site that was settled, written down once the aggregate of its raw events equalled its counters. One without a row here is open, or has no event at all.';
comment on column analytics.settled_hours.events_missing_since is
    'Since when it is known that raw events of the hour are missing, so that it takes no more events. Null: not known.';
comment on column analytics.settled_hours.visitors is
    'Who was seen, as a set of the numbers of visitors: a Roaring bitmap in its portable format, without runs. Null: not known, as of an hour that was settled before such sets were kept.';

create index settled_hours_with_events_missing on analytics.settled_hours (hour, site) where events_missing_since is not null;

-- An audit reads a day of all sites.
create index settled_hours_by_hour on analytics.settled_hours (hour);
