//! TimescaleDB: whether it is what the schema needs.

use std::fmt::Write as _;

use db::{
    Flavour, Timescale,
    schema::{OLDEST_SOUND_TIMESCALE, is_sound_timescale, timescale_version},
};

use super::finding::Finding;

pub(super) const TIMESCALEDB: &str = "timescaledb";
const PRELOAD: &str = "set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart the server";

pub(super) fn judge_timescale(flavour: Option<Flavour>, timescale: &Timescale) -> Finding {
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
            let mut seen = format!("{version}, community edition (timescaledb.license timescale)");
            if let Some(newer) = available.as_ref().filter(|it| timescale_version(it) > timescale_version(version)) {
                let _ = write!(seen, "; the server has {newer}, which `alter extension timescaledb update` brings");
            }
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

#[cfg(test)]
mod tests {
    use db::{Flavour, Timescale};

    use super::judge_timescale;
    use crate::doctor::finding::Health;

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
            (made, timescale(Some("2.29.2"), Some("timescale")), Health::Ok, "the server has 2.30.0"),
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
    fn an_update_is_offered_only_to_a_newer_version() {
        for (available, is_offered) in [("2.29.3", true), ("2.29.2", false), ("2.9.9", false)] {
            let timescale = Timescale {
                installed: Some("2.29.2".to_owned()),
                available: Some(available.to_owned()),
                license: Some("timescale".to_owned()),
                is_preloaded: true,
            };
            let finding = judge_timescale(Some(Flavour::Timescale), &timescale);
            assert_eq!(finding.seen.contains("alter extension"), is_offered, "{}", finding.seen);
        }
    }
}
