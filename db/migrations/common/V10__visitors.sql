-- Who was seen in the hours that are settled, so that the unique users of any range of hours can be told when the raw events are gone.

create table analytics.visitors (
    site integer not null default 0,
    number integer not null,
    name text collate "C",
    primary key (site, number)
);

-- With the number, so that numbering an hour reads no row of who is known. That halves its time.
create unique index visitors_name on analytics.visitors (site, name) include (number);

comment on table analytics.visitors is
    'The number of each visitor of a site, in sets of visitors. Given when the first hour of the visitor is settled (see functions/number_visitors.sql).';
comment on column analytics.visitors.number is 'Dense, from 0, so that sets are small.';
comment on column analytics.visitors.name is
    'Null once the visitor was forgotten: the number stays in sets, where it is counted, and names nobody.';

create table analytics.day_visitors (
    site integer not null default 0,
    day timestamptz not null,
    changes bigint not null default 0,
    visitors bytea,
    primary key (site, day)
);

alter table analytics.day_visitors alter column visitors set storage external;

create index day_visitors_to_unite on analytics.day_visitors (day, site) where visitors is null;

comment on table analytics.day_visitors is
    'Each UTC day of a site that has, or had, a settled hour, and who was seen in its settled hours together, so that a long range is read as days.';
comment on column analytics.day_visitors.changes is
    'How often the settled hours of the day changed. Whoever unites them writes the union only if none changed meanwhile.';
comment on column analytics.day_visitors.visitors is
    'The union of settled_hours.visitors of the day. Null: not made since an hour of the day was settled or opened.';
