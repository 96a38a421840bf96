-- The hours that are answered from events_hourly. An hour without a row here is open, or has no event at all.

create table analytics.settled_hours (
    hour timestamptz primary key,
    settled_at timestamptz not null
);
