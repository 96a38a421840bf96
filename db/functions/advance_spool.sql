-- Moves the position up to which a spool is stored from one record to a later one. False if the spool
-- is no longer at the first: a replay that was given up may still be running, and whichever commits
-- second must not store again what the other did.

create or replace function analytics.advance_spool(spool text, stored_from bigint, stored_to bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if stored_from = 0 then
        insert into analytics.spools (id, stored_to) values (spool, advance_spool.stored_to) on conflict do nothing;
    else
        update analytics.spools as s set stored_to = advance_spool.stored_to
        where s.id = spool and s.stored_to = stored_from;
    end if;
    return found;
end
$$;
