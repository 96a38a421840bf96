-- One row for each lane of each running daemon. It serves two ends:
-- counters are kept per writer, so that replicas never wait for one another's row;
-- last_batch is written in the transaction of the batch, so that a daemon whose connection died during the commit can find
-- out whether the batch was stored (see fence_writer).

create table analytics.writers (
    id bigint generated always as identity primary key,
    last_batch bigint not null default 0,
    -- A fenced writer stores nothing any more.
    fenced boolean not null default false,
    written_at timestamptz not null default now()
)
-- One row is updated thousands of times a minute: the free space lets those updates stay on its page.
with (fillfactor = 20);
