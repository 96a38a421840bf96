-- What a daemon must know of the tokens in force.

create or replace function analytics.live_access_tokens()
returns table (id text, scopes text[], secret_hash bytea, origins text[], site_ids integer[], is_share boolean, expires_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select t.id, t.scopes, t.secret_hash, t.origins, t.site_ids, t.is_share, t.expires_at
    from analytics.access_tokens as t
    where t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
$function$;
