-- The two kinds of the contract, as words that a person at psql can read; four bytes a row.

create type analytics.event_kind as enum ('click', 'impression');
