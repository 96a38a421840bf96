-- Computes one hour of `events_hourly` anew, also where the extension believes that nothing changed. To
-- be called outside a transaction: the extension's refresh commits on its way, which only a procedure
-- may that runs with the rights of its caller.

create or replace procedure analytics.refresh_hour(hour timestamptz)
language plpgsql as $$
begin
    call refresh_continuous_aggregate('analytics.events_hourly', hour, hour + interval '1 hour', force => true);
end
$$;
