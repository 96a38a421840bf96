-- The users and counters of the hours that are open.

create table analytics.hour_users (
    hour timestamptz not null,
    user_name text collate "C" not null,
    site integer not null default 0,
    -- A name is found before its site is compared, which costs an ingest half of what the other order does.
    primary key (hour, user_name, site)
);

comment on table analytics.hour_users is
    'Who was seen in each open hour of each site. A row that goes in is a user counted; a row that was there already is not counted again.';

create table analytics.hour_counts (
    hour timestamptz not null,
    site integer not null default 0,
    writer bigint not null,
    unique_users bigint not null,
    clicks bigint not null,
    impressions bigint not null,
    written_at timestamptz not null,
    is_later boolean not null default false,
    has_later boolean not null default false,
    part integer not null default 0,
    primary key (hour, site, is_later, writer, part)
)
-- The current hour's row is updated by every batch: the free space lets those updates stay on its page. The file keeps some
-- pages that are empty: for one of a few pages the planner reads all of it and uses no index, and goes on to when old versions
-- that cannot be removed have made it long.
with (fillfactor = 20, vacuum_truncate = off);

insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at)
select to_timestamp(0), n, 0, 0, 0, now() from generate_series(1, 320) as n;
delete from analytics.hour_counts;

comment on table analytics.hour_counts is
    'The counters of each open hour of each site, one row for each writer that wrote in it, so that replicas never wait for one another. An hour of a site is open while it has rows here.';
comment on column analytics.hour_counts.is_later is
    'True in a second row of the writer, to which it adds while old versions of rows cannot be removed: see functions/later_part.sql. The counts of both rows add up.';
comment on column analytics.hour_counts.has_later is 'Whether the writer has such a row.';
comment on column analytics.hour_counts.part is
    'Gives a later row another key with every 256 batches of its writer, so that it is found without passing more old versions than that.';
