-- Who was seen in each open hour. A row that goes in is a user counted; a row that was there already is not counted again.

create table analytics.hour_users (
    hour timestamptz not null,
    user_name text collate "C" not null,
    primary key (hour, user_name)
);
