-- The key of the row to which a writer adds the counts of an hour of a site while old versions of rows
-- cannot be removed. If it has none yet, its first row says from now on that there is one, and goes on
-- holding what it holds.
--
-- Its key changes with every 256 batches of the writer, and the last one is looked for from the end, so
-- that no key is passed that the row had before. For a small table the planner would rather read all of
-- them and sort.

create or replace function analytics.later_part(hour timestamptz, site integer, writer bigint) returns integer
language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    part integer;
begin
    select c.part into part from analytics.hour_counts as c
    where c.hour = later_part.hour and c.site = later_part.site and c.is_later and c.writer = later_part.writer
    order by c.part desc limit 1;
    if not found then
        insert into analytics.hour_counts (hour, site, writer, unique_users, clicks, impressions, written_at, has_later)
        values (later_part.hour, later_part.site, later_part.writer, 0, 0, 0, now(), true)
        on conflict on constraint hour_counts_pkey do update set has_later = true;
        part := 0;
    end if;
    return part;
end
$$;
