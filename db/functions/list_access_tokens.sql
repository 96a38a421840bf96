-- All tokens that ever were, the latest last, without anything of their secrets. Of the sites that they
-- are for, those that are not deleted; null for a token that is for no site in particular.

create or replace function analytics.list_access_tokens()
returns table (id text, name text, scopes text[], is_public boolean, origins text[], sites text[], is_share boolean, created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
language sql stable as $function$
    select t.id, t.name, t.scopes, t.secret_hash is null, t.origins,
        case when t.site_ids is not null then
            array(select s.name from analytics.sites as s where s.id = any (t.site_ids) and s.deleted_at is null order by s.name)
        end,
        t.is_share, t.created_at, t.expires_at, t.revoked_at
    from analytics.access_tokens as t
    order by t.created_at, t.id
$function$;
