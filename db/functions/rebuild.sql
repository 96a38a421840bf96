-- Makes users and counters of an hour that has none from its raw events; an hour without raw events goes
-- on having none. The raw events are read by statements that are planned with the hour's value, so that
-- only its own partition or chunk is opened and locked.

create or replace function analytics.rebuild(hour timestamptz, writer bigint) returns void
language plpgsql as $function$
begin
    execute $$
        insert into analytics.hour_users (hour, user_name)
        select distinct $1, e.user_name from analytics.events as e where e.at >= $1 and e.at < $2
    $$ using hour, hour + interval '1 hour';

    execute $$
        insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at)
        select
            $1,
            $3,
            (select count(*) from analytics.hour_users as u where u.hour = $1),
            count(*) filter (where e.kind = 'click'),
            count(*) filter (where e.kind = 'impression'),
            now()
        from analytics.events as e where e.at >= $1 and e.at < $2
        having count(*) > 0
    $$ using hour, hour + interval '1 hour', writer;
end
$function$;
