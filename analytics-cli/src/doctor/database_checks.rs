use std::time::Duration;

use chrono::TimeDelta;
use db::{
    Access, Examination, Flavour, Platform, Service, Settling, StoreError, Timescale, mask_password,
    objects::{Drift, DriftKind},
    pooler::SharedSessions,
    roles,
    schema::{MigrationState, OLDEST_SOUND_TIMESCALE, SchemaError, SchemaStatus, is_sound_timescale},
};

use super::{
    clock::Skew,
    encryption::{self, ENCRYPTION},
    finding::Finding,
    losses, raw_events,
    report::Report,
};
use crate::{
    database,
    failure::{self, Failure},
    output::Unwritten,
    settings::{Setting, Source},
};

const REACHED: &str = "database";
const SESSIONS: &str = "sessions";
const POSTGRESQL: &str = "postgresql";
const ENCODING: &str = "encoding";
const DURABILITY: &str = "durability";
const TIMESCALEDB: &str = "timescaledb";
const MIGRATIONS: &str = "migrations";
const OBJECTS: &str = "schema objects";
const RIGHTS: &str = "rights";
const CLOCK: &str = "database clock";
const SETTLER: &str = "settler";
const OPEN_HOURS: &str = "open hours";

/// In WebAssembly a clock goes by milliseconds.
const CLOCK_RESOLUTION: TimeDelta = TimeDelta::milliseconds(1);
/// The oldest version of PostgreSQL that is tested.
const OLDEST_TESTED_POSTGRESQL: u32 = 15;
const MIGRATE_FIRST: &str = "migrate it first";
/// How many objects that are not as they should be are named in one line.
const NAMED_OBJECTS: usize = 10;

/// A database to look at.
pub(crate) struct Database {
    examination: Examination,
    url: Setting<String>,
}

impl Database {
    /// Prepares to look; nothing is opened yet.
    pub(crate) fn new(url: Setting<String>, limit: Duration) -> Result<Self, Failure> {
        let store = database::open(&url.value, &url.source, limit)?;
        Ok(Self { examination: Examination::new(&store, limit), url })
    }

    /// Looks at everything, and returns how far its clock is ahead of this machine's, if it could be asked.
    pub(crate) async fn run(self, report: &mut Report) -> Result<Option<Skew>, Failure> {
        let encryption = encryption::look(&self.url.value);
        let platform = match self.examination.platform().await {
            Ok(platform) => platform,
            Err(error) => {
                report.add(self.failed(REACHED, &error))?;
                report.add(encryption)?;
                skip_what_asks_it(report, "the database cannot be asked", "mend that first")?;
                return Ok(None);
            }
        };
        report.add(Finding::ok(REACHED, format!("{} answers", mask_password(&self.url.value))))?;
        report.add(encryption)?;
        let sessions = self.examination.sessions().await;
        report
            .add(sessions.map_or_else(|error| self.failed(SESSIONS, &error), |sessions| judge_sessions(&sessions)))?;
        report.add(judge_version(&platform))?;
        report.add(judge_encoding(&platform))?;
        report.add(judge_durability(&platform))?;

        let schema = self.examination.schema().await;
        let flavour = schema.as_ref().ok().and_then(|schema| schema.flavour);
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

        if flavour.is_none() {
            for check in [SETTLER, OPEN_HOURS].into_iter().chain(raw_events::ALL).chain([losses::LOSSES]) {
                report.add(Finding::skipped(check, "there is no schema yet", MIGRATE_FIRST))?;
            }
            return Ok(clock.ok());
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
        Ok(clock.ok())
    }

    fn failed(&self, check: &'static str, error: &StoreError) -> Finding {
        judge_failure(check, error, &self.url.source)
    }
}

/// Says for every check of the database why it is not made.
pub(crate) fn skip(report: &mut Report, why: &str, advice: &str) -> Result<(), Unwritten> {
    report.add(Finding::skipped(REACHED, why, advice))?;
    report.add(Finding::skipped(ENCRYPTION, why, "give one first"))?;
    skip_what_asks_it(report, why, "give one first")
}

fn skip_what_asks_it(report: &mut Report, why: &str, advice: &str) -> Result<(), Unwritten> {
    [SESSIONS, POSTGRESQL, ENCODING, DURABILITY, TIMESCALEDB, MIGRATIONS, OBJECTS, RIGHTS, CLOCK, SETTLER, OPEN_HOURS]
        .into_iter()
        .chain(raw_events::ALL)
        .chain([losses::LOSSES])
        .try_for_each(|check| report.add(Finding::skipped(check, why, advice)))
}

fn judge_failure(check: &'static str, error: &StoreError, url_source: &Source) -> Finding {
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
        other => failure::database_advice(other, Some(url_source)),
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

fn judge_version(Platform { version, major_version, service, .. }: &Platform) -> Finding {
    let seen = service.map_or_else(|| version.clone(), |service| format!("{version}, run by {service}"));
    if *major_version >= OLDEST_TESTED_POSTGRESQL {
        return Finding::ok(POSTGRESQL, seen);
    }
    let advice = format!("it is tested from version {OLDEST_TESTED_POSTGRESQL} on: upgrade it");
    Finding::warning(POSTGRESQL, seen, advice)
}

fn judge_encoding(Platform { encoding, .. }: &Platform) -> Finding {
    if encoding == "UTF8" {
        return Finding::ok(ENCODING, encoding);
    }
    let seen = format!("{encoding}, in which not every user's name can be stored");
    Finding::problem(ENCODING, seen, "make the database anew with `create database … encoding 'UTF8'`")
}

fn judge_durability(platform: &Platform) -> Finding {
    let word = |is_on| if is_on { "on" } else { "off" };
    let Platform { is_webassembly, fsync, full_page_writes, synchronous_commit, service, .. } = platform;
    let (fsync_word, pages_word) = (word(*fsync), word(*full_page_writes));
    let seen = format!("fsync {fsync_word}, full_page_writes {pages_word}, synchronous_commit {synchronous_commit}");
    if *is_webassembly {
        let seen = "it runs in WebAssembly and never syncs: what is committed may be lost when the machine stops";
        return Finding::warning(
            DURABILITY,
            seen,
            "use it for trials only, and a PostgreSQL server where events matter",
        );
    }
    // Its storage keeps what is committed; the disk of the server holds no data (docs/operate/databases.md).
    let is_synced_elsewhere = *service == Some(Service::Neon);
    if !fsync && !is_synced_elsewhere {
        let seen = format!("{seen}: what is committed may be lost when the machine stops");
        let advice = "set fsync = on in postgresql.conf and reload it";
        return Finding::problem(DURABILITY, seen, advice);
    }
    if !full_page_writes && !is_synced_elsewhere {
        let seen = format!("{seen}: a page that was half written when the machine stopped cannot be mended");
        let advice = "set full_page_writes = on, unless the file system never writes half a page, as ZFS does not";
        return Finding::warning(DURABILITY, seen, advice);
    }
    if matches!(synchronous_commit.as_str(), "off" | "local") {
        let seen = format!("{seen}: analyticsd commits durably all the same, other programs do not");
        return Finding::warning(DURABILITY, seen, "set synchronous_commit = on in postgresql.conf and reload it");
    }
    Finding::ok(DURABILITY, seen)
}

const PRELOAD: &str = "set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart the server";

fn judge_timescale(flavour: Option<Flavour>, timescale: &Timescale) -> Finding {
    let Timescale { installed, available, license, is_preloaded } = timescale;
    let license = license.as_deref().unwrap_or("not set");
    let lacks = "lacks continuous aggregates and the columnstore";
    match (flavour, installed, available) {
        (Some(Flavour::Postgres), ..) => Finding::ok(TIMESCALEDB, "not used: the schema is of the flavour postgres"),
        (Some(Flavour::Timescale), None, _) => Finding::problem(
            TIMESCALEDB,
            "the schema is of the flavour timescale, and the extension is gone",
            "restore the database from a backup, or migrate an empty one and import into it",
        ),
        (_, Some(version), _) | (None, _, Some(version)) if !is_preloaded => Finding::problem(
            TIMESCALEDB,
            format!("{version} is installed, and the server does not load it"),
            if flavour.is_some() {
                PRELOAD.to_owned()
            } else {
                format!("{PRELOAD}; or migrate with `--flavour postgres`")
            },
        ),
        (Some(Flavour::Timescale), Some(version), _) if license != "timescale" => Finding::problem(
            TIMESCALEDB,
            format!("{version}, timescaledb.license {license}, which {lacks}"),
            "install the community edition and set timescaledb.license = 'timescale'",
        ),
        (Some(Flavour::Timescale), Some(version), _) => {
            let seen = format!("{version}, community edition (timescaledb.license timescale)");
            if is_sound_timescale(version) {
                return Finding::ok(TIMESCALEDB, seen);
            }
            let [major, minor, patch] = OLDEST_SOUND_TIMESCALE;
            let oldest = format!("{major}.{minor}.{patch}");
            let seen = format!("{seen}; before {oldest} it could miscount users in partly compressed chunks");
            Finding::warning(TIMESCALEDB, seen, format!("upgrade it to {oldest} or later"))
        }
        (None, _, None) => Finding::ok(TIMESCALEDB, "not there; `migrate up` will choose the flavour postgres"),
        (None, _, Some(version)) if installed.is_some() && license != "timescale" => Finding::warning(
            TIMESCALEDB,
            format!("{version}, timescaledb.license {license}, which {lacks}"),
            "install the community edition, or migrate with `--flavour postgres`",
        ),
        (None, _, Some(version)) => {
            Finding::ok(TIMESCALEDB, format!("{version}; `migrate up` will choose the flavour timescale"))
        }
    }
}

fn judge_migrations(schema: &SchemaStatus) -> Finding {
    let applied = schema.count(MigrationState::Applied);
    match (schema.complaint(), schema.flavour) {
        (None, Some(_)) if schema.is_newer_but_compatible() => {
            let seen = format!(
                "{} migrations and functions of version {} are applied that a newer version made; this version can use them",
                schema.count(MigrationState::Unknown),
                schema.functions.version
            );
            Finding::warning(MIGRATIONS, seen, "upgrade it to the version that made them")
        }
        (None, Some(flavour)) => {
            Finding::ok(MIGRATIONS, format!("all {applied} and the functions are applied, flavour {flavour}"))
        }
        (complaint, _) => {
            let complaint = complaint.unwrap_or_else(|| "the schema has no flavour".to_owned());
            let split = complaint.split_once("; ").or_else(|| complaint.split_once(". "));
            let (seen, advice) = split.unwrap_or((&complaint, "run `analytics-cli migrate status`"));
            Finding::problem(MIGRATIONS, seen, advice)
        }
    }
}

fn judge_objects(drift: &[Drift]) -> Finding {
    let of = |kind| drift.iter().filter(move |drift| drift.kind == kind).count();
    let (missing, changed, added) = (of(DriftKind::Missing), of(DriftKind::Changed), of(DriftKind::Added));
    if drift.is_empty() {
        return Finding::ok(OBJECTS, "as the migrations make them");
    }
    let named: Vec<String> = drift.iter().take(NAMED_OBJECTS).map(ToString::to_string).collect();
    let more = drift.len().saturating_sub(NAMED_OBJECTS);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let seen = format!("{missing} missing, {changed} changed, {added} added: {}{more}", named.join(", "));
    if missing + changed > 0 {
        let are_functions = |drift: &&Drift| {
            drift.kind == DriftKind::Added
                || ["function ", "procedure ", "trigger ", "view "].iter().any(|kind| drift.object.starts_with(kind))
        };
        if drift.iter().all(|it| are_functions(&it)) {
            return Finding::problem(
                OBJECTS,
                seen,
                "run `analytics-cli migrate up`, which makes functions and views anew",
            );
        }
        let advice = "make an empty database, run `analytics-cli migrate up` on it, and take the objects from it with \
                      `pg_dump --schema-only --schema=analytics`; then run `analytics-cli verify`";
        Finding::problem(OBJECTS, seen, advice)
    } else {
        Finding::warning(OBJECTS, seen, "keep what is your own in a schema of its own, where no migration can meet it")
    }
}

fn judge_rights(Access { owner_alone, needed, mighty_daemons, admission }: &Access) -> Finding {
    match needed {
        None => Finding::warning(
            RIGHTS,
            "the roles that let daemons and readers do no more than they need are not there",
            "run `analytics-cli migrate up` with a login that may create roles, or with --without-roles to do without them",
        ),
        Some(needed) if !needed.is_empty() => Finding::problem(
            RIGHTS,
            format!(
                "owners or rights are not what daemons need: {} statements are lacking, the first: {}",
                needed.len(),
                needed[0]
            ),
            "run `analytics-cli migrate up`, which runs them, or says who has to",
        ),
        Some(_) if !mighty_daemons.is_empty() => Finding::warning(
            RIGHTS,
            format!("a daemon is logged in as {}, who may do everything here", mighty_daemons.join(", ")),
            format!("give it a login of its own: `create role … login password '…' in role {}`", roles::DAEMON),
        ),
        Some(_) if !admission.is_empty() => Finding::warning(
            RIGHTS,
            "every login of the server may connect to this database, and hold locks that storing events waits for",
            format!(
                "let nobody in but who has to: as the owner of the database, or a superuser, grant connect to {} \
                 and have business here, if there are any, then run `{}`",
                if owner_alone.is_some() {
                    "other logins that are yours or the service's"
                } else {
                    "logins that are none of the roles'"
                },
                admission.join("; ")
            ),
        ),
        Some(_) => Finding::ok(
            RIGHTS,
            owner_alone.as_ref().map_or_else(
                || "everybody may do what they need to, and no more".to_owned(),
                |owner| format!("without roles: everything belongs to {owner}, whose login the daemons use"),
            ),
        ),
    }
}

fn judge_settler(settling: &Settling) -> Finding {
    if settling.has_settler {
        return Finding::ok(SETTLER, "a daemon settles the hours of this database");
    }
    let seen = "no daemon settles the hours of this database";
    Finding::warning(SETTLER, seen, "start analyticsd on it; whichever is first settles, a second after its start")
}

fn judge_open_hours(settling: &Settling) -> Finding {
    let Settling { has_settler, waiting, oldest, overdue, contradictory } = settling;
    let oldest = oldest.map(|hour| hour.to_string()).unwrap_or_default();
    if *contradictory > 0 {
        let seen = format!("{contradictory} hours are open and settled at once, and cannot be read");
        return Finding::problem(OPEN_HOURS, seen, "run `analytics-cli verify --repair`");
    }
    if *waiting == 0 {
        return Finding::ok(OPEN_HOURS, "none waits to be settled");
    }
    let seen = format!("{waiting} ended hours wait to be settled, the oldest {oldest}");
    if *overdue == 0 {
        return Finding::ok(OPEN_HOURS, seen);
    }
    let seen = format!("{seen}; {overdue} of them had no event for an hour");
    let advice = if *has_settler {
        format!(
            "look again in a minute; if they still wait, `analytics-cli verify --from {oldest} --to -2h` tells whether their \
             counters differ from their raw events, and the log of analyticsd why they stay open"
        )
    } else {
        "start analyticsd, which settles them".to_owned()
    };
    Finding::warning(OPEN_HOURS, seen, advice)
}

#[cfg(test)]
mod tests {
    use db::{
        Access, Flavour, Platform, Service, Settling, Timescale,
        objects::{Drift, DriftKind},
    };
    use model::{Hour, Timestamp};

    use super::{
        judge_durability, judge_encoding, judge_objects, judge_open_hours, judge_rights, judge_settler,
        judge_timescale, judge_version,
    };
    use crate::doctor::finding::Health;

    fn platform() -> Platform {
        Platform {
            version: "17.2".to_owned(),
            major_version: 17,
            is_webassembly: false,
            encoding: "UTF8".to_owned(),
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".to_owned(),
            service: None,
        }
    }

    #[test]
    fn only_what_can_lose_a_commit_is_a_problem() {
        for (platform, health) in [
            (platform(), Health::Ok),
            (Platform { is_webassembly: true, ..platform() }, Health::Warning),
            (Platform { fsync: false, ..platform() }, Health::Problem),
            (Platform { fsync: false, service: Some(Service::Rds), ..platform() }, Health::Problem),
            (Platform { fsync: false, service: Some(Service::Neon), ..platform() }, Health::Ok),
            (Platform { full_page_writes: false, ..platform() }, Health::Warning),
            (Platform { synchronous_commit: "off".to_owned(), ..platform() }, Health::Warning),
            (Platform { synchronous_commit: "local".to_owned(), ..platform() }, Health::Warning),
            (Platform { synchronous_commit: "remote_apply".to_owned(), ..platform() }, Health::Ok),
        ] {
            assert_eq!(judge_durability(&platform).health, health, "{platform:?}");
        }
    }

    #[test]
    fn old_versions_and_other_encodings_are_told() {
        assert_eq!(judge_version(&platform()).health, Health::Ok);
        assert_eq!(judge_version(&Platform { major_version: 14, ..platform() }).health, Health::Warning);
        let managed = judge_version(&Platform { service: Some(Service::Rds), ..platform() });
        assert_eq!((managed.health, managed.seen.as_str()), (Health::Ok, "17.2, run by Amazon RDS"));
        assert_eq!(judge_encoding(&platform()).health, Health::Ok);
        let ascii = judge_encoding(&Platform { encoding: "SQL_ASCII".to_owned(), ..platform() });
        assert_eq!(ascii.health, Health::Problem);
    }

    #[test]
    fn the_extension_is_judged_by_what_the_schema_needs_of_it() {
        let timescale = |installed: Option<&str>, license: Option<&str>| Timescale {
            installed: installed.map(str::to_owned),
            available: Some("2.30.0".to_owned()),
            license: license.map(str::to_owned),
            is_preloaded: true,
        };
        let idle = |installed| Timescale { is_preloaded: false, ..timescale(installed, None) };
        let (made, plain) = (Some(Flavour::Timescale), Some(Flavour::Postgres));
        for (flavour, timescale, health, seen) in [
            (made, timescale(Some("2.30.0"), Some("timescale")), Health::Ok, "community"),
            (made, timescale(Some("2.28.3"), Some("timescale")), Health::Warning, "before 2.29.2"),
            (made, timescale(Some("2.30.0"), Some("apache")), Health::Problem, "lacks continuous aggregates"),
            (made, timescale(None, None), Health::Problem, "gone"),
            (plain, timescale(None, None), Health::Ok, "not used"),
            (None, timescale(None, None), Health::Ok, "will choose the flavour timescale"),
            (None, timescale(Some("2.30.0"), Some("apache")), Health::Warning, "lacks"),
            (made, idle(Some("2.30.0")), Health::Problem, "does not load it"),
            (None, idle(Some("2.30.0")), Health::Problem, "does not load it"),
            (None, idle(None), Health::Problem, "does not load it"),
            (plain, idle(Some("2.30.0")), Health::Ok, "not used"),
            (None, Timescale::default(), Health::Ok, "will choose the flavour postgres"),
        ] {
            let finding = judge_timescale(flavour, &timescale);
            assert_eq!(finding.health, health, "{timescale:?}");
            assert!(finding.seen.contains(seen), "{}", finding.seen);
        }
    }

    #[test]
    fn an_object_of_somebody_elses_is_no_problem_but_a_missing_one_is() {
        let drift = |kind| Drift { object: "index analytics.x".to_owned(), kind };
        assert_eq!(judge_objects(&[]).health, Health::Ok);
        assert_eq!(judge_objects(&[drift(DriftKind::Added)]).health, Health::Warning);
        assert_eq!(judge_objects(&[drift(DriftKind::Added), drift(DriftKind::Missing)]).health, Health::Problem);
        let many = vec![drift(DriftKind::Changed); 12];
        assert!(judge_objects(&many).seen.starts_with("0 missing, 12 changed, 0 added: changed index analytics.x, "));
        assert!(judge_objects(&many).seen.ends_with(", and 2 more"));
    }

    #[test]
    fn rights_are_well_where_nothing_is_needed_no_daemon_may_do_everything_and_strangers_may_not_connect() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let access = |needed: Option<&[&str]>, daemons: &[&str], admission: &[&str]| Access {
            owner_alone: None,
            needed: needed.map(texts),
            mighty_daemons: texts(daemons),
            admission: texts(admission),
        };
        let alone = |needed: Option<&[&str]>, admission: &[&str]| Access {
            owner_alone: Some("anna".to_owned()),
            ..access(needed, &[], admission)
        };
        for (access, health, told) in [
            (access(Some(&[]), &[], &[]), Health::Ok, "no more"),
            (access(None, &[], &[]), Health::Warning, "not there"),
            (access(Some(&["grant a to b"]), &[], &[]), Health::Problem, "grant a to b"),
            (access(Some(&[]), &["postgres"], &[]), Health::Warning, "logged in as postgres"),
            (access(Some(&[]), &[], &["grant x", "revoke y"]), Health::Warning, "run `grant x; revoke y`"),
            (alone(Some(&[]), &[]), Health::Ok, "everything belongs to anna"),
            (alone(Some(&["alter a"]), &[]), Health::Problem, "alter a"),
            (alone(Some(&[]), &["revoke y"]), Health::Warning, "yours or the service's"),
        ] {
            let finding = judge_rights(&access);
            assert_eq!(finding.health, health, "{access:?}");
            let line = format!("{} {}", finding.seen, finding.advice.unwrap_or_default());
            assert!(line.contains(told), "{line}");
        }
    }

    #[test]
    fn hours_that_wait_are_judged_by_how_long_nobody_wrote_to_them() {
        let oldest = Some(Hour::containing(Timestamp::from_millis(0).unwrap()));
        let none = Settling { has_settler: true, waiting: 0, oldest: None, overdue: 0, contradictory: 0 };
        for (settling, health, advice) in [
            (none.clone(), Health::Ok, ""),
            (Settling { waiting: 2, oldest, ..none.clone() }, Health::Ok, ""),
            (
                Settling { waiting: 2, oldest, overdue: 1, ..none.clone() },
                Health::Warning,
                "verify --from 1970-01-01T00:00:00Z",
            ),
            (
                Settling { has_settler: false, waiting: 2, oldest, overdue: 1, ..none.clone() },
                Health::Warning,
                "start analyticsd",
            ),
            (Settling { contradictory: 1, ..none.clone() }, Health::Problem, "verify --repair"),
        ] {
            let finding = judge_open_hours(&settling);
            assert_eq!(finding.health, health, "{settling:?}");
            assert!(finding.advice.unwrap_or_default().contains(advice), "{settling:?}");
        }
        assert_eq!(judge_settler(&none).health, Health::Ok);
        assert_eq!(judge_settler(&Settling { has_settler: false, ..none }).health, Health::Warning);
    }
}
