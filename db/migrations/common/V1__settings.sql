-- What holds for the whole installation, and the record of the functions and views.

create table analytics.settings (
    singleton boolean primary key default true check (singleton),
    flavour text not null check (flavour in ('timescale', 'postgres')),
    oldest_compatible integer not null default 1,
    uses_roles boolean not null default true,
    retention interval check (retention between interval '1 day' and interval '1000 years'),
    accepts_from timestamptz not null default '1970-01-01T00:00:00Z',
    due_before timestamptz not null default '1970-01-01T00:00:00Z',
    due_by_database timestamptz,
    due_by_daemon timestamptz,
    visitor_salt text not null default replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    counter uuid,
    shard integer not null default 0,
    shards integer not null default 1 check (shards between 1 and 256),
    is_founded boolean not null default false,
    lives_at text[] check (cardinality(lives_at) > 0),
    check (shard between 0 and shards - 1)
);

comment on table analytics.settings is 'What holds for the whole installation: one row, which the first migration of the flavour writes.';
comment on column analytics.settings.flavour is 'Which half of the migrations and functions this schema has; chosen once, by what the server offers.';
comment on column analytics.settings.oldest_compatible is
    'The migration that a program must know to run on this schema. A migration that a running daemon of the version before could not bear raises it.';
comment on column analytics.settings.uses_roles is
    'Whether owners and rights are those of the roles; false: everything belongs to the owner of the schema, whose login the daemons use too.';
comment on column analytics.settings.retention is
    'Raw events older than this are deleted; the counts of their hours stay. Null: raw events are kept for ever.';
comment on column analytics.settings.accepts_from is
    'Raw events before this instant are gone, so an event before it can no longer be counted exactly and is refused.';
comment on column analytics.settings.due_before is
    'No event before this instant is taken, and its raw events are due to be deleted (see functions/advance_retention.sql).';
comment on column analytics.settings.due_by_database is
    'What the clock of the database showed when due_before was moved; null: not known.';
comment on column analytics.settings.due_by_daemon is
    'What the clock of the daemon showed when due_before was moved; null: not known.';
comment on column analytics.settings.visitor_salt is
    'Names of visitors without a script are derived with this (see GET /analytics.gif): every replica gives the same visitor the same name, and whoever does not have the salt cannot find out whose name it is.';
comment on column analytics.settings.counter is
    'The counter that the database is of: the same in each of its databases, and in no other. Null: the database was not given to one yet.';
comment on column analytics.settings.shard is 'Which of the databases of the counter this is, from 0.';
comment on column analytics.settings.shards is 'How many databases the counter has. It never changes.';
comment on column analytics.settings.is_founded is
    'Whether every database of the counter has its number. From then on a new database is not given to the counter.';
comment on column analytics.settings.lives_at is
    'The servers that the database is used on, each as HOST:PORT, or FOLDER:PORT of a socket, as in the URLs that lead to it. A copy of it elsewhere is refused. Null: it is used wherever it is.';

create table analytics.schema_functions (
    singleton boolean primary key default true check (singleton),
    version integer not null,
    oldest_compatible integer not null,
    checksum bytea not null,
    objects text[] not null,
    applied_at timestamptz not null
);

comment on table analytics.schema_functions is 'The functions and views that this schema has, which `migrate up` writes: one row.';
comment on column analytics.schema_functions.version is 'The version of the set. A program that holds an older one leaves the set as it is.';
comment on column analytics.schema_functions.oldest_compatible is
    'The version of the set that a program must hold to run on this one.';
comment on column analytics.schema_functions.checksum is 'The SHA-256 sum of all statements of the set.';
comment on column analytics.schema_functions.objects is
    'What the set made. `migrate up` drops those that are no longer in the set, and nothing else.';
