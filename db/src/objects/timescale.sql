-- What the extension makes of tables and views of the schema.
select
    '2 ' || h.hypertable_name as block,
    format('hypertable %I.%I', h.hypertable_schema, h.hypertable_name) as object,
    concat_ws(', ', 'by ' || d.column_name, case when h.compression_enabled then 'columnstore' end) as definition,
    null::text as comment
from timescaledb_information.hypertables as h
join timescaledb_information.dimensions as d using (hypertable_schema, hypertable_name)
where h.hypertable_schema = 'analytics'
union all
select
    '3 ' || view_name,
    format('continuous aggregate %I.%I', view_schema, view_name),
    concat_ws(', ',
        case when materialized_only then 'materialized only' else 'real-time' end,
        btrim(regexp_replace(regexp_replace(view_definition, '("[^"]+"|\m[a-z_][a-z0-9_$]*)\.', '', 'g'), '[\s();]+', ' ', 'g'))),
    null
from timescaledb_information.continuous_aggregates
where view_schema = 'analytics'
