-- The operator's word that raw events are due as the setting says, however large a step that is. The
-- operator's machine gives its clock, which must agree with the database's: raises AN008 if it does not.
--
-- It also takes back what a wrong clock moved into the future, so that events are taken again: to where
-- the setting says, or to the oldest raw events that are left, or to today if none are.
--
-- What is due is decided in shard 0 only. The others keep the bound that they have from there, so that
-- none of them deletes by one that another has not got yet.

create or replace function analytics.confirm_retention(clock timestamptz) returns void
language plpgsql set timezone = 'UTC' as $$
declare
    earlier timestamptz := least(clock, now());
begin
    if abs(extract(epoch from clock - clock_timestamp())) > 600 then
        raise exception 'this machine''s clock says %, and the database''s %; what is due cannot be told until they agree',
            to_char(clock, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'AN008';
    end if;
    if exists (select from analytics.settings as s where s.accepts_from > earlier) then
        -- Ingests wait for this behind an hour that is being rebuilt; those of now are refused anyway.
        perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    end if;
    update analytics.settings as s set
        due_before = m.due_before,
        due_by_database = now(),
        due_by_daemon = clock,
        accepts_from = case
            when s.accepts_from <= earlier then s.accepts_from
            else greatest(m.due_before, least(date_trunc('day', earlier), (select min(d) from analytics.event_days() as d)))
        end
    from (
        select case
            when o.shard > 0 then o.due_before
            else coalesce(date_trunc('day', earlier - o.retention), timestamptz 'epoch')
        end as due_before
        from analytics.settings as o
    ) as m;
end
$$;
