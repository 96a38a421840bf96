//! Looks at a database, one check after the other.

use std::time::Duration;

use chrono::TimeDelta;
use db::{
    Examination, FoundAt, Shards, Store, StoreError, mask_password, pooler::SharedSessions, roles, schema::SchemaError,
};

use super::{
    clock::Skew,
    encryption::{self, ENCRYPTION},
    finding::Finding,
    losses,
    platform::{DURABILITY, ENCODING, POSTGRESQL, judge_durability, judge_encoding, judge_version},
    raw_events,
    report::Report,
    schema::{MIGRATIONS, OBJECTS, RIGHTS, judge_migrations, judge_objects, judge_rights},
    settling::{OPEN_HOURS, SETTLER, judge_open_hours, judge_settler},
    shards::{self, SHARD, Seen},
    timescale::{TIMESCALEDB, judge_timescale},
    writes::{self, WRITES},
};
use crate::{
    failure::{self, Failure},
    output::Unwritten,
    settings::Named,
};

const REACHED: &str = "database";
const SESSIONS: &str = "sessions";
const CLOCK: &str = "database clock";

/// In WebAssembly a clock goes by milliseconds.
const CLOCK_RESOLUTION: TimeDelta = TimeDelta::milliseconds(1);
const MIGRATE_FIRST: &str = "migrate it first";

/// A database to look at.
pub(crate) struct Database<'a> {
    examination: Examination,
    url: &'a str,
    named: &'a Named,
}

impl<'a> Database<'a> {
    /// Prepares to look at it as it is, whichever it is; nothing is opened yet.
    pub(crate) fn new(store: &Store, url: &'a str, named: &'a Named, limit: Duration) -> Self {
        Self { examination: Examination::new(&store.without_identity(), limit), url, named }
    }

    /// Looks at everything, and returns what is compared with other shards and with the server. `said` is what the databases before it
    /// said of themselves; it adds its own.
    pub(crate) async fn run(
        self,
        shards: &Shards,
        said: &mut Vec<Option<FoundAt>>,
        report: &mut Report,
    ) -> Result<Seen, Failure> {
        let encryption = encryption::look(self.url);
        let platform = match self.examination.platform().await {
            Ok(platform) => platform,
            Err(error) => {
                report.add(self.failed(REACHED, &error))?;
                report.add(encryption)?;
                skip_what_asks_it(report, "the database cannot be asked", "mend that first")?;
                said.push(None);
                return Ok(Seen::default());
            }
        };
        report.add(Finding::ok(REACHED, format!("{} answers", mask_password(self.url))))?;
        report.add(encryption)?;
        let identity = self.examination.identity().await;
        said.push(identity.as_ref().ok().cloned());
        report.add(match &identity {
            Ok(FoundAt { found, .. }) => shards::judge_place(shards, said, found),
            Err(error) => self.failed(SHARD, error),
        })?;
        let sessions = self.examination.sessions().await;
        report
            .add(sessions.map_or_else(|error| self.failed(SESSIONS, &error), |sessions| judge_sessions(&sessions)))?;
        report.add(judge_version(&platform))?;
        report.add(judge_encoding(&platform))?;
        report.add(judge_durability(&platform))?;
        report.add(writes::look(&self.examination, |check, error| self.failed(check, error)).await)?;

        let schema = self.examination.schema().await;
        let flavour = schema.as_ref().ok().and_then(|schema| schema.flavour);
        let mut seen = Seen {
            // Where it may not be asked, nothing is said of it.
            server: self.examination.server().await.ok(),
            version: Some(platform.version),
            schema: schema.as_ref().ok().map(|schema| (schema.version(), schema.functions.version)),
            flavour,
            clock: None,
        };
        let timescale = self.examination.timescale().await;
        report
            .add(timescale.map_or_else(|error| self.failed(TIMESCALEDB, &error), |it| judge_timescale(flavour, &it)))?;
        let is_ours =
            schema.as_ref().is_ok_and(|schema| schema.complaint().is_none() && !schema.is_newer_but_compatible());
        report.add(match schema {
            Ok(schema) => judge_migrations(&schema),
            Err(SchemaError::Store(error)) => self.failed(MIGRATIONS, &error),
            Err(other) => Finding::problem(MIGRATIONS, other.to_string(), "run `analytics-cli migrate status`"),
        })?;
        report.add(match flavour {
            Some(flavour) if is_ours => {
                let drift = self.examination.drift(flavour).await;
                drift.map_or_else(|error| self.failed(OBJECTS, &error), |drift| judge_objects(&drift))
            }
            _ => Finding::skipped(OBJECTS, "the schema is not the one of this version", MIGRATE_FIRST),
        })?;
        report.add(match flavour {
            Some(flavour) if is_ours => {
                let access = self.examination.access(flavour).await;
                access.map_or_else(|error| self.failed(RIGHTS, &error), |access| judge_rights(&access))
            }
            _ => Finding::skipped(RIGHTS, "the schema is not the one of this version", MIGRATE_FIRST),
        })?;

        let clock = self.examination.clock().await;
        let clock = clock.map(|clock| Skew::new(clock.asked, clock.says, CLOCK_RESOLUTION, clock.answered));
        report.add(match &clock {
            Ok(clock) => clock.judge(CLOCK, "its clock", "this machine's"),
            Err(error) => self.failed(CLOCK, error),
        })?;
        seen.clock = clock.ok();

        if flavour.is_none() {
            for check in [SETTLER, OPEN_HOURS].into_iter().chain(raw_events::ALL).chain([losses::LOSSES]) {
                report.add(Finding::skipped(check, "there is no schema yet", MIGRATE_FIRST))?;
            }
            return Ok(seen);
        }
        match self.examination.settling().await {
            Ok(settling) => {
                report.add(judge_settler(&settling))?;
                report.add(judge_open_hours(&settling))?;
            }
            Err(error) => {
                report.add(self.failed(SETTLER, &error))?;
                report.add(Finding::skipped(
                    OPEN_HOURS,
                    "they are asked for together with the settler",
                    "mend that first",
                ))?;
            }
        }
        for finding in raw_events::look(&self.examination, |check, error| self.failed(check, error)).await {
            report.add(finding)?;
        }
        report.add(losses::look(&self.examination, |check, error| self.failed(check, error)).await)?;
        Ok(seen)
    }

    fn failed(&self, check: &'static str, error: &StoreError) -> Finding {
        judge_failure(check, error, self.named)
    }
}

/// Says for every check of the database why it is not made.
pub(crate) fn skip(report: &mut Report, why: &str, advice: &str) -> Result<(), Unwritten> {
    report.add(Finding::skipped(REACHED, why, advice))?;
    report.add(Finding::skipped(ENCRYPTION, why, "give one first"))?;
    skip_what_asks_it(report, why, "give one first")
}

fn skip_what_asks_it(report: &mut Report, why: &str, advice: &str) -> Result<(), Unwritten> {
    let of_the_server = [SHARD, SESSIONS, POSTGRESQL, ENCODING, DURABILITY, WRITES, TIMESCALEDB];
    let of_the_schema = [MIGRATIONS, OBJECTS, RIGHTS, CLOCK, SETTLER, OPEN_HOURS];
    of_the_server
        .into_iter()
        .chain(of_the_schema)
        .chain(raw_events::ALL)
        .chain([losses::LOSSES])
        .try_for_each(|check| report.add(Finding::skipped(check, why, advice)))
}

fn judge_failure(check: &'static str, error: &StoreError, named: &Named) -> Finding {
    let (seen, remedy) = error.parts();
    let advice = match error {
        _ if remedy.is_some() => remedy.unwrap_or_default().to_owned(),
        StoreError::Forbidden(_) => format!(
            "give this login the rights of a reader: `grant {} to …`; without roles, use the login that owns the schema",
            roles::READER
        ),
        StoreError::Refused(_) | StoreError::Inconsistent(_) => "see the log of the database".to_owned(),
        StoreError::TimedOut(_) | StoreError::Cancelled(_) => {
            "try again when it is less busy, or with a longer --timeout".to_owned()
        }
        other => failure::database_advice(other, Some(named)),
    };
    Finding::problem(check, seen, advice)
}

fn judge_sessions(sessions: &Result<(), SharedSessions>) -> Finding {
    match sessions {
        Ok(()) => Finding::ok(SESSIONS, "each connection has one of its own"),
        Err(shared) => {
            let seen = format!("{}: something between hands them out by the transaction", shared.seen);
            Finding::problem(SESSIONS, seen, SharedSessions::REMEDY)
        }
    }
}
