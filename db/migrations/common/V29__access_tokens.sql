-- Tokens that let clients in. Of a token's secret only its SHA-256 sum is here, from which nobody gets the secret back: it has 256 random bits.

create table analytics.access_tokens (
    -- What a token says of itself before its secret.
    id text collate "C" primary key check (id ~ '^[0-9a-f]{12}$'),
    name text not null check (char_length(name) between 1 and 100),
    scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['write', 'read', 'admin']),
    -- Null for a public key, which stands in web pages and has no secret: it only lets those of its origins write.
    secret_hash bytea check (octet_length(secret_hash) = 32),
    origins text[] not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    -- Null: never.
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint access_tokens_public check (
        secret_hash is null and scopes = array['write'] and cardinality(origins) > 0 or secret_hash is not null and cardinality(origins) = 0)
);

-- A name is free again once its token is revoked.
create unique index access_tokens_name on analytics.access_tokens (name) where revoked_at is null;

-- What daemons call, and the trigger, runs with the rights of its owner: a daemon's login reads nothing of tokens but what it must know of them.

-- How often the table above was changed: what every daemon looks at again and again, to read the table only when it has to. Zero says that there
-- never was a token. It never goes back, so that whoever revokes or deletes the last token does not open the service to everybody.
create table analytics.access_changes (
    singleton boolean primary key default true check (singleton),
    changes bigint not null default 0
);
insert into analytics.access_changes default values;

create function analytics.count_access_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
begin
    update analytics.access_changes set changes = changes + 1;
    return null;
end
$function$;

create trigger access_changed after insert or update or delete or truncate on analytics.access_tokens
    for each statement execute function analytics.count_access_change();

create function analytics.access_changes() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select c.changes from analytics.access_changes as c
$function$;

-- What a daemon must know of those who may come in.
create function analytics.live_access_tokens()
returns table (id text, scopes text[], secret_hash bytea, origins text[], expires_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select t.id, t.scopes, t.secret_hash, t.origins, t.expires_at
    from analytics.access_tokens as t
    where t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
$function$;

-- False if another token that is not revoked has the name.
create function analytics.create_access_token(
    id text, name text, scopes text[], secret_hash bytea, origins text[], expires_at timestamptz)
returns boolean
language plpgsql as $function$
#variable_conflict use_column
begin
    insert into analytics.access_tokens (id, name, scopes, secret_hash, origins, expires_at)
    values (create_access_token.id, create_access_token.name, create_access_token.scopes, create_access_token.secret_hash,
        create_access_token.origins, create_access_token.expires_at)
    on conflict (name) where revoked_at is null do nothing;
    return found;
end
$function$;

-- All that ever were, the latest last, without anything of their secrets.
create function analytics.list_access_tokens()
returns table (id text, name text, scopes text[], is_public boolean, origins text[], created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
language sql stable as $function$
    select t.id, t.name, t.scopes, t.secret_hash is null, t.origins, t.created_at, t.expires_at, t.revoked_at
    from analytics.access_tokens as t
    order by t.created_at, t.id
$function$;

-- Revokes the token of an ID, else the one of a name. No row if there is none that is not revoked already.
create function analytics.revoke_access_token(name_or_id text)
returns table (id text, name text)
language sql as $function$
    update analytics.access_tokens as t set revoked_at = clock_timestamp()
    where t.revoked_at is null and t.id = (
        select c.id from analytics.access_tokens as c
        where c.revoked_at is null and (c.id = name_or_id or c.name = name_or_id)
        order by c.id = name_or_id desc
        limit 1)
    returning t.id, t.name
$function$;
