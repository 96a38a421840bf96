-- Keeps the set of visitors of an hour of a site that was settled without one, made of its raw events, if it
-- has as many visitors as were settled. Returns whether it does.

create or replace function analytics.fill_visitors(hour timestamptz, site integer, visitors bytea) returns boolean
language plpgsql as $$
begin
    update analytics.settled_hours as s set visitors = fill_visitors.visitors
    where s.site = fill_visitors.site and s.hour = fill_visitors.hour and s.visitors is null
        and s.unique_users = analytics.set_cardinality(fill_visitors.visitors);
    if not found then
        return false;
    end if;
    perform analytics.change_day(fill_visitors.hour, array[fill_visitors.site]);
    return true;
end
$$;
