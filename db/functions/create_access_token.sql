-- Stores a token; false if another token that is not revoked has the name.

create or replace function analytics.create_access_token(
    id text, name text, scopes text[], secret_hash bytea, origins text[], site_ids integer[], is_share boolean, expires_at timestamptz)
returns boolean
language plpgsql as $function$
#variable_conflict use_column
begin
    insert into analytics.access_tokens (id, name, scopes, secret_hash, origins, site_ids, is_share, expires_at)
    values (create_access_token.id, create_access_token.name, create_access_token.scopes, create_access_token.secret_hash,
        create_access_token.origins, create_access_token.site_ids, create_access_token.is_share, create_access_token.expires_at)
    on conflict (name) where revoked_at is null do nothing;
    return found;
end
$function$;
