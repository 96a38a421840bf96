-- This flavour has no columnstore: raises AN002 for any age.

create or replace procedure analytics.set_columnstore_after(age interval)
language plpgsql as $$
begin
    if age is not null then
        raise exception 'the columnstore belongs to TimescaleDB, and this schema was made without it' using errcode = 'AN002';
    end if;
end
$$;
