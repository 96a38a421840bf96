-- Keeps the union of the sets of a day's settled hours, which the caller made, unless an hour of the day
-- changed since it read how often they did. Returns whether it is kept.

create or replace function analytics.unite_day(site integer, day timestamptz, changes bigint, visitors bytea) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update analytics.day_visitors as d set visitors = unite_day.visitors
    where d.site = unite_day.site and d.day = unite_day.day and d.changes = unite_day.changes;
    return found;
end
$$;
