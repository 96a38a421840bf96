-- Revokes the token of an ID, else the one of a name. No row if there is none that is not revoked
-- already.

create or replace function analytics.revoke_access_token(name_or_id text)
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
