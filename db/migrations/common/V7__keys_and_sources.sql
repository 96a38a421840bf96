-- What keeps events from being stored twice, however often they are sent. Ordinary events never touch what is here.

create table analytics.event_keys (
    hour timestamptz not null,
    site integer not null default 0,
    key text collate "C" not null,
    fingerprint bytea not null,
    primary key (hour, site, key)
);

comment on table analytics.event_keys is
    'The idempotency keys under which events of an hour of a site were stored. They live as long as the raw events do, whether the hour is open or settled.';
comment on column analytics.event_keys.fingerprint is 'Tells a repetition from another request under the same key.';

create table analytics.sources (
    site integer not null default 0,
    name text collate "C" not null,
    position bigint not null,
    digest bytea,
    advanced_at timestamptz not null default now(),
    primary key (site, name)
);

comment on table analytics.sources is
    'How far each ordered source of events is stored: a file, a partition of a topic, a daemon''s spool. Written in the transaction of the events, so that each event of a source is stored exactly once.';
comment on column analytics.sources.site is 'The site for which the source was sent. Its events may be of others too.';
comment on column analytics.sources.position is 'Everything before it is stored: bytes, offsets, numbers of records; the sender decides which.';
comment on column analytics.sources.digest is
    'What the sender derived from the content up to the position. Another source under the same name has another one, and is refused.';
