-- Which of these hours take no events: `settled` must be reopened first; `expired` never take any again,
-- because their raw events are due to be deleted, gone, or known to be incomplete. Null for none.
-- The answer holds for hours whose locks the caller holds.

create or replace function analytics.blocked(hours timestamptz[], out settled timestamptz[], out expired timestamptz[])
language sql stable as $$
    select
        (select array_agg(z.hour) from analytics.settled_hours as z
            where z.hour = any (hours) and z.hour >= s.takes_from and z.events_missing_since is null),
        (select array_agg(h) from unnest(hours) as h
            where h < s.takes_from
                or exists (select from analytics.settled_hours as z where z.hour = h and z.events_missing_since is not null))
    from (select greatest(accepts_from, due_before) from analytics.settings) as s (takes_from)
$$;
