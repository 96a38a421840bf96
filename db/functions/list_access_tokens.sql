-- All tokens that ever were, the latest last, without anything of their secrets.

create or replace function analytics.list_access_tokens()
returns table (id text, name text, scopes text[], is_public boolean, origins text[], created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
language sql stable as $function$
    select t.id, t.name, t.scopes, t.secret_hash is null, t.origins, t.created_at, t.expires_at, t.revoked_at
    from analytics.access_tokens as t
    order by t.created_at, t.id
$function$;
