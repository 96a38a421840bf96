-- What the names of visitors without a script are derived with (see `GET /analytics.gif`), so that every replica gives the same visitor the same
-- name, and nobody without it can find out whose name it is.
alter table analytics.settings
    add column visitor_salt text not null default replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
