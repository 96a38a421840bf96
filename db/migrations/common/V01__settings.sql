-- What holds for the whole installation: one row. The flavour in it is written by the flavour's own first migration.

create table analytics.settings (
    singleton boolean primary key default true check (singleton),
    -- Which half of the migrations this schema was built from; chosen once, by what the server offers.
    flavour text not null check (flavour in ('timescale', 'postgres')),
    -- Raw events older than this are deleted; the counts of their hours stay. Null: kept for ever.
    retention interval check (retention between interval '1 day' and interval '1000 years'),
    -- Raw events before this instant are gone, so an event before it can no longer be counted exactly and is refused.
    accepts_from timestamptz not null default '1970-01-01T00:00:00Z'
);
