-- The lanes of running daemons, and what the database lost of what they stored.

create table analytics.writers (
    id bigint not null,
    last_batch bigint not null default 0,
    fenced boolean not null default false,
    written_at timestamptz not null default now(),
    batch_at_last_look bigint not null default 0,
    idle_looks integer not null default 0,
    page bigint,
    is_crowded boolean not null default false,
    part bigint not null default 0,
    primary key (id, part)
)
-- One row is updated thousands of times a minute: the free space lets those updates stay on its page. The file keeps empty
-- pages as that of hour_counts does, for the same reason.
with (fillfactor = 20, vacuum_truncate = off);

insert into analytics.writers (id) select n from generate_series(1, 320) as n;
delete from analytics.writers;

comment on table analytics.writers is 'One row for each lane of each running daemon.';
comment on column analytics.writers.id is 'Drawn at random (see functions/register_writer.sql).';
comment on column analytics.writers.last_batch is
    'The number of the writer''s last batch, written in the transaction of the batch: a daemon whose connection died during the commit can find out whether the batch was stored (see functions/fence_writer.sql).';
comment on column analytics.writers.fenced is 'A fenced writer stores nothing any more.';
comment on column analytics.writers.part is
    'Is last_batch / 256. So the row gets another key with every 256 batches, and who knows the last batch finds it without passing more old versions than that.';
comment on column analytics.writers.page is 'The page of the table on which the row was when it got its key; null: it still has the first.';
comment on column analytics.writers.is_crowded is
    'Whether it was on another page one key earlier: its old versions cannot be removed, because a session holds a snapshot, and fill page after page.';
comment on column analytics.writers.idle_looks is
    'How often a writer was looked at without having stored anything since the last look (see functions/forget_idle_writers.sql).';

create table analytics.losses (
    noticed_at timestamptz not null default now(),
    writer bigint not null,
    batches bigint not null,
    events bigint not null
);

comment on table analytics.losses is
    'Batches that daemons knew to be committed, and that the database did not have any more: a standby that lagged behind was promoted, or a backup was restored under them.';
