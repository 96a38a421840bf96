//! Looks for what takes raw events away, and for hours that lack some.

use model::Hour;

use crate::{Due, Examination, StoreError, retention, store::hour_in};

/// Settled hours that take no events, because raw events of them were found to be missing when one came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedHours {
    /// How many.
    pub count: u64,
    /// The first of them, ten at most, with the names of their sites; empty for the site without a name.
    pub first: Vec<(Hour, String)>,
}

/// A job of somebody else's on the table of raw events or on the aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignJob {
    /// Which, for example `retention policy 1001 of TimescaleDB`.
    pub name: String,
    /// Whether it deletes raw events, or may.
    pub deletes: bool,
}

impl Examination {
    /// What is due, by the setting and by the clocks.
    pub async fn due(&self) -> Result<Due, StoreError> {
        self.look(async |transaction| retention::read_due(transaction).await).await
    }

    /// The settled hours that take no events.
    pub async fn closed_hours(&self) -> Result<ClosedHours, StoreError> {
        self.look(async |transaction| {
            let rows = transaction
                .query(
                    "select z.hour, coalesce(s.name, ''), count(*) over () \
                     from analytics.settled_hours as z left join analytics.list_sites() as s on s.id = z.site \
                     where z.events_missing_since is not null and (z.site = 0 or s.id is not null) order by z.hour, z.site limit 10",
                    &[],
                )
                .await?;
            let count = rows.first().map_or(0, |row| u64::try_from(row.get::<_, i64>(2)).unwrap_or_default());
            Ok(ClosedHours { count, first: rows.iter().map(|row| (hour_in(row, 0), row.get(1))).collect() })
        })
        .await
    }

    /// Jobs that somebody else set up on our tables, as far as this login may see them.
    pub async fn foreign_jobs(&self) -> Result<Vec<ForeignJob>, StoreError> {
        self.look(async |transaction| {
            let mut jobs = Vec::new();
            for (is_there, found) in SOURCES {
                let Some(row) = transaction.query_opt(is_there, &[]).await? else { continue };
                let found = found.replace("{schema}", row.get(0));
                for row in transaction.query(&found, &[]).await? {
                    jobs.push(ForeignJob { name: row.get(0), deletes: row.get(1) });
                }
            }
            Ok(jobs)
        })
        .await
    }
}

/// For each program that runs jobs: in which schema it is, if this login may read there, and which of its jobs are on our tables.
const SOURCES: [(&str, &str); 3] = [
    (
        "select 'timescaledb_information' where to_regclass('timescaledb_information.jobs') is not null",
        "select case proc_name when 'policy_retention' then 'retention policy ' else 'refresh policy ' end || job_id || ' of TimescaleDB', \
         proc_name = 'policy_retention' \
         from {schema}.jobs where hypertable_schema = 'analytics' and hypertable_name in ('events', 'events_hourly') \
         and proc_name in ('policy_retention', 'policy_refresh_continuous_aggregate') order by job_id",
    ),
    (
        "select quote_ident(n.nspname) from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace \
         join pg_class as c on c.relnamespace = n.oid and c.relname = 'part_config' \
         where e.extname = 'pg_partman' and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')",
        "select 'pg_partman, which manages ' || parent_table, true from {schema}.part_config where parent_table = 'analytics.events'",
    ),
    (
        "select 'cron' where to_regclass('cron.job') is not null and has_schema_privilege('cron', 'usage') \
         and has_table_privilege('cron.job', 'select')",
        "select 'job ' || jobid || ' of pg_cron', true from {schema}.job where active and database = current_database() \
         and command ~* 'analytics\\W+events|drop_chunks' order by jobid",
    ),
];
