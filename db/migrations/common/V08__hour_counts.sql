-- The counters of each open hour, one row for each writer that wrote in it. An hour is open while it has rows here.

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
