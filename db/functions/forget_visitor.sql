-- Takes the name of a visitor of a site away from the number that it has. The number stays in the sets of
-- hours whose raw events are gone, so that what they count stays exact, and names nobody. Who comes again
-- under the same name is somebody new. Call it when the raw events are forgotten: whoever read them before,
-- to give numbers, has done so by then, and its names are found here.

create or replace function analytics.forget_visitor(user_name text, site integer) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(analytics.lock_class('visitors'), 0);
    update analytics.visitors as v set name = null where v.site = forget_visitor.site and v.name = forget_visitor.user_name;
end
$$;
