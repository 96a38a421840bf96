-- The counts of whole hours, computed from the raw events by the database. Never real-time: open hours have counters,
-- which are exact at once and cost the same however many events the hour holds.
-- One chunk for three years of hours, since reading one hour costs more the more chunks there are.

create materialized view analytics.events_hourly
with (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.chunk_interval = '3 years') as
select
    time_bucket(interval '1 hour', at) as hour,
    count(distinct user_name) as unique_users,
    count(*) filter (where kind = 'click') as clicks,
    count(*) filter (where kind = 'impression') as impressions
from analytics.events
group by 1
with no data;

-- Computes one hour anew, also where the extension believes that nothing changed. To be called outside a transaction.
create procedure analytics.refresh_hour(hour timestamptz)
language plpgsql as $$
begin
    call refresh_continuous_aggregate('analytics.events_hourly', hour, hour + interval '1 hour', force => true);
end
$$;
