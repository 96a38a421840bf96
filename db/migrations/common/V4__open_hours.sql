-- The users and counters of the hours that are open.

create table analytics.hour_users (
    hour timestamptz not null,
    user_name text collate "C" not null,
    primary key (hour, user_name)
);

comment on table analytics.hour_users is
    'Who was seen in each open hour. A row that goes in is a user counted; a row that was there already is not counted again.';

create table analytics.hour_counts (
    hour timestamptz not null,
    writer bigint not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    written_at timestamptz not null,
    primary key (hour, writer)
)
-- The current hour's row is updated by every batch: the free space lets those updates stay on its page.
with (fillfactor = 20);

comment on table analytics.hour_counts is
    'The counters of each open hour, one row for each writer that wrote in it, so that replicas never wait for one another. An hour is open while it has rows here.';
