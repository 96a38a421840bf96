-- What the extension makes of tables and views of the schema.
select
    format('hypertable %I.%I', h.hypertable_schema, h.hypertable_name),
    concat_ws(', ', 'by ' || d.column_name, case when h.compression_enabled then 'columnstore' end)
from timescaledb_information.hypertables as h
join timescaledb_information.dimensions as d using (hypertable_schema, hypertable_name)
where h.hypertable_schema = 'analytics'
union all
select
    format('continuous aggregate %I.%I', view_schema, view_name),
    concat_ws(', ',
        case when materialized_only then 'materialized only' else 'real-time' end,
        btrim(regexp_replace(regexp_replace(view_definition, '\m[a-z_]+\.', '', 'g'), '[\s();]+', ' ', 'g')))
from timescaledb_information.continuous_aggregates
where view_schema = 'analytics'
