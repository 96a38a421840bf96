-- The counters that have a name. What has none is site 0, which has no row.

create table analytics.sites (
    id integer generated always as identity primary key check (id > 0),
    name text collate "C" not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    created_at timestamptz not null default clock_timestamp(),
    archived_at timestamptz,
    deleted_at timestamptz,
    forgotten_to timestamptz,
    forgotten_at timestamptz
);

comment on table analytics.sites is
    'Each site is a counter of its own. Rows stay for ever, so that no number is given twice.';
comment on column analytics.sites.archived_at is 'Since when it takes no events. Its counts are read as before.';
comment on column analytics.sites.deleted_at is 'Since when it is hidden and takes no events (see functions/delete_site.sql).';
comment on column analytics.sites.forgotten_to is
    'The last day of which everything is deleted that was stored of a deleted site (see functions/forget_deleted_sites.sql); null: none yet.';
comment on column analytics.sites.forgotten_at is 'When the last of it was deleted.';

-- A name is free again once its site is deleted.
create unique index sites_name on analytics.sites (name) where deleted_at is null;

-- Whoever stores events looks here whether a site is deleted.
create index sites_deleted on analytics.sites (id) where deleted_at is not null;

create table analytics.site_changes (
    singleton boolean primary key default true check (singleton),
    changes bigint not null default 0
);

comment on table analytics.site_changes is 'How often sites was changed, so that daemons need not read it each time they ask.';

insert into analytics.site_changes default values;
