-- Turns chunks that ended longer ago than this into columns; null: never. This is the extension's own
-- policy; deleting chunks is not, because that must never leave an hour half-counted (see
-- advance_retention).

create or replace procedure analytics.set_columnstore_after(age interval)
language plpgsql as $$
begin
    call remove_columnstore_policy('analytics.events', if_exists => true);
    if age is not null then
        call add_columnstore_policy('analytics.events', after => age);
    end if;
end
$$;
