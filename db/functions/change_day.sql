-- Notes that the settled hours of a day changed, so that what is united of them is made anew. In the
-- transaction of the change: whoever reads sees both or neither. The rows are locked in the order of their
-- sites, so that two hours of a day can wait for each other but never in a circle.

create or replace function analytics.change_day(hour timestamptz, sites integer[]) returns void
language sql as $$
    insert into analytics.day_visitors as d (site, day)
    select s, date_bin(interval '24 hours', hour, timestamptz 'epoch') from unnest(sites) as s order by s
    on conflict (site, day) do update set visitors = null, changes = d.changes + 1
$$;
