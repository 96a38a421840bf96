-- Moves the instant before which no events are accepted, and returns it. What lies before it may be deleted.
--
-- It stops at the oldest open hour, since an hour must be settled before its raw events go; it moves by whole UTC days, which is
-- what chunks and partitions hold; it never moves back. No ingest runs meanwhile, so none stores an event that is then deleted.

create function analytics.advance_retention() returns timestamptz
language plpgsql as $$
declare
    wanted timestamptz;
begin
    select date_trunc('day', now() - s.retention, 'UTC') into wanted from analytics.settings as s;
    if wanted is null then
        return (select s.accepts_from from analytics.settings as s);
    end if;

    perform pg_advisory_xact_lock(analytics.lock_class('retention'), 0);
    update analytics.settings as s
    set accepts_from = greatest(
        s.accepts_from,
        least(wanted, (select date_trunc('day', min(c.hour), 'UTC') from analytics.hour_counts as c)));
    return (select s.accepts_from from analytics.settings as s);
end
$$;
