-- How many numbers a Roaring bitmap has, as its head says: in the portable format without runs, four bytes
-- (12346), the number of containers in four bytes, and of each container its key and its cardinality less
-- one, two bytes each, all little-endian (https://github.com/RoaringBitmap/RoaringFormatSpec). It is -1,
-- which no hour has settled, for anything else, so that an audit goes on and names the hour.

create or replace function analytics.set_cardinality(visitors bytea) returns bigint
language plpgsql immutable strict parallel safe as $$
declare
    containers integer;
    head bytea;
begin
    head := substring(visitors from 1 for 8);
    if length(head) = 8 and substring(head from 1 for 4) = '\x3a300000' then
        containers := get_byte(head, 4) + 256 * get_byte(head, 5) + 65536 * get_byte(head, 6);
        head := substring(visitors from 9 for 4 * containers);
        if length(head) = 4 * containers then
            return (
                select coalesce(sum(get_byte(head, 4 * c + 2) + 256 * get_byte(head, 4 * c + 3) + 1), 0)
                from generate_series(0, containers - 1) as c);
        end if;
    end if;
    return -1;
end
$$;
