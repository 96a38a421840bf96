-- Tokens that let clients in.

create table analytics.access_tokens (
    id text collate "C" primary key check (id ~ '^[0-9a-f]{12}$'),
    name text not null check (char_length(name) between 1 and 100),
    scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['write', 'read', 'admin']),
    secret_hash bytea check (octet_length(secret_hash) = 32),
    origins text[] not null default '{}',
    site_ids integer[] check (cardinality(site_ids) > 0),
    is_share boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint access_tokens_admin check (site_ids is null or not scopes @> array['admin']),
    constraint access_tokens_share check (not is_share or scopes = array['read'] and cardinality(site_ids) = 1 and secret_hash is not null),
    constraint access_tokens_public check (
        secret_hash is null and scopes = array['write'] and cardinality(origins) > 0 or secret_hash is not null and cardinality(origins) = 0)
);

comment on table analytics.access_tokens is
    'Tokens that let clients in. Daemons read them by functions that run with the rights of their owner: a daemon''s login reads nothing of tokens but what it must know.';
comment on column analytics.access_tokens.id is 'What a token says of itself before its secret.';
comment on column analytics.access_tokens.secret_hash is
    'The SHA-256 sum of the secret, from which the secret cannot be found: it has 256 random bits. Null for a public key, which stands in web pages and has no secret: it lets only its origins write.';
comment on column analytics.access_tokens.site_ids is
    'The sites that it is for, and no other. Null: a token is for all, a public key for the site without a name.';
comment on column analytics.access_tokens.is_share is
    'Whether it stands in a link to the page of its one site. Daemons take such tokens only where --share-links is set.';
comment on column analytics.access_tokens.expires_at is 'Null: never.';

-- A name is free again once its token is revoked.
create unique index access_tokens_name on analytics.access_tokens (name) where revoked_at is null;

create table analytics.access_changes (
    singleton boolean primary key default true check (singleton),
    changes bigint not null default 0
);

comment on table analytics.access_changes is
    'How often access_tokens was changed. Zero says that there never was a token. It never goes back, so that whoever revokes or deletes the last token does not open the service to everybody.';

insert into analytics.access_changes default values;
