-- The shard of a counter of so many that a visitor's events are in: the first four bytes of the SHA-256
-- sum of the name, as a big-endian number, modulo the number of shards.

create or replace function analytics.shard_of(user_name text, shards integer) returns integer
language sql immutable strict parallel safe as $$
    select ((
        (get_byte(h.sum, 0)::bigint << 24) | (get_byte(h.sum, 1) << 16) | (get_byte(h.sum, 2) << 8) | get_byte(h.sum, 3)
    ) % shards)::integer
    from (select sha256(convert_to(user_name, 'UTF8'))) as h (sum)
$$;
