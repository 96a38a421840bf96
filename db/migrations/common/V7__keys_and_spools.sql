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

create table analytics.spools (
    id text collate "C" primary key,
    stored_to bigint not null
);

comment on table analytics.spools is
    'How far each daemon''s spool is stored. Written in the transaction of the events, so that a record is replayed exactly once.';
