-- Makes a settled hour of each of the given sites open again, unless the site is deleted: users and
-- counters are rebuilt from its raw events, which are read for all of them together, and the counters go
-- to the given writer. Does nothing to those that are open. To be called in a transaction of its own: it
-- takes the hour's lock exclusively, which an ingest already holds shared.
--
-- It leaves an hour alone whose raw events are deleted, since it could never be settled again. If the raw
-- events that are left give less than what was settled, the hour of that site stays settled, and is known
-- from then on to lack some: it takes no more events, and is not rebuilt for the next one either.

create or replace function analytics.reopen(hour timestamptz, sites integer[], writer bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was record;
    rebuilt integer[];
begin
    if not analytics.lock_for_rebuild(reopen.hour) then
        return;
    end if;
    select array_agg(s.site) as sites, array_agg(s.unique_users) as users, array_agg(s.clicks) as clicks, array_agg(s.impressions) as impressions
    into was
    from analytics.settled_hours as s
    where s.site = any (reopen.sites) and s.hour = reopen.hour and s.events_missing_since is null
        and not exists (select from analytics.sites as d where d.id = s.site and d.deleted_at is not null);
    if was.sites is null then
        return;
    end if;
    rebuilt := array(select analytics.rebuild(reopen.hour, was.sites, was.users, was.clicks, was.impressions, reopen.writer));
    delete from analytics.settled_hours as s where s.site = any (rebuilt) and s.hour = reopen.hour;
    perform analytics.change_day(reopen.hour, rebuilt);
    update analytics.settled_hours as s set events_missing_since = now()
    where s.site = any (was.sites) and s.hour = reopen.hour and s.site <> all (rebuilt);
end
$$;
