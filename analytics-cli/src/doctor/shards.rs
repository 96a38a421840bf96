//! Which shard of which counter a database is, whether the settings mean it in its place, and how the shards differ.

use std::collections::BTreeMap;

use db::{Flavour, Found, FoundAt, Shards};

use super::{clock::Skew, finding::Finding};

pub(super) const SHARD: &str = "shard";
const SERVERS: &str = "shared servers";
const VERSIONS: &str = "shard versions";

/// What is seen of a database that is compared with others.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Which server it is on.
    pub(super) server: Option<String>,
    /// PostgreSQL's version.
    pub(super) version: Option<String>,
    /// The versions of the migrations and of the functions.
    pub(super) schema: Option<(i32, i32)>,
    pub(super) flavour: Option<Flavour>,
    /// How far its clock is ahead of this machine's.
    pub(super) clock: Option<Skew>,
}

/// `said` is what the databases up to this one said, and `found` what this one did.
pub(super) fn judge_place(shards: &Shards, said: &[Option<FoundAt>], found: &Found) -> Finding {
    if let Some(fault) = shards.misplaced(said).pop().flatten() {
        let text = fault.to_string();
        let (seen, advice) =
            text.split_once("; ").unwrap_or((&text, "name the databases of one counter in their order"));
        return Finding::problem(SHARD, seen, advice);
    }
    match found {
        Found::Identity(identity) if identity.shards == 1 => {
            Finding::ok(SHARD, format!("the only database of the counter {}", identity.counter))
        }
        Found::Identity(identity) => Finding::ok(SHARD, format!("{identity}, as it is named")),
        Found::None => Finding::skipped(SHARD, "the database does not say which shard it is", "migrate it first"),
        Found::NotAllowed => {
            Finding::skipped(SHARD, "this login may not read which shard the database is", "use that of the daemons")
        }
    }
}

/// Compares the shards of a counter.
pub(super) fn compare(shards: &[Seen]) -> [Finding; 2] {
    let shared: Vec<String> = grouped(shards, |seen| seen.server.clone())
        .into_values()
        .filter(|group| group.len() > 1)
        .map(|group| format!("{} are on one server", named(&group)))
        .collect();
    let servers = if shared.is_empty() {
        Finding::ok(SERVERS, "no two shards are known to be on one server")
    } else {
        let advice =
            "nothing needs to be done if they are meant to share its cores; what stops the server stops all of them";
        Finding::warning(SERVERS, shared.join("; "), advice)
    };
    let schemas = grouped(shards, |seen| {
        seen.schema.map(|(tables, functions)| format!("schema {tables}, functions {functions}"))
    });
    let versions = grouped(shards, |seen| seen.version.as_ref().map(|version| format!("PostgreSQL {version}")));
    let flavours = grouped(shards, |seen| seen.flavour.map(|flavour| format!("flavour {flavour}")));
    let seen = [&schemas, &versions, &flavours].into_iter().filter(|groups| !groups.is_empty()).map(describe);
    let seen = seen.collect::<Vec<_>>().join("; ");
    let versions = if schemas.len() > 1 {
        Finding::warning(VERSIONS, seen, "run `analytics-cli migrate up` with all shards")
    } else if versions.len() > 1 {
        Finding::warning(VERSIONS, seen, "bring the servers to one version of PostgreSQL, one after the other")
    } else {
        Finding::ok(VERSIONS, seen)
    };
    [servers, versions]
}

/// The shards by what is seen of them, without those of which it is not known.
fn grouped(shards: &[Seen], key: impl Fn(&Seen) -> Option<String>) -> BTreeMap<String, Vec<usize>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (shard, seen) in shards.iter().enumerate() {
        if let Some(key) = key(seen) {
            groups.entry(key).or_default().push(shard);
        }
    }
    groups
}

fn describe(groups: &BTreeMap<String, Vec<usize>>) -> String {
    if groups.len() == 1 {
        return groups.keys().next().cloned().unwrap_or_default();
    }
    groups.iter().map(|(what, group)| format!("{what} in {}", named(group))).collect::<Vec<_>>().join(", ")
}

fn named(group: &[usize]) -> String {
    let numbers: Vec<String> = group.iter().map(ToString::to_string).collect();
    match numbers.split_last() {
        Some((last, before)) if !before.is_empty() => format!("shards {} and {last}", before.join(", ")),
        _ => format!("shard {}", numbers.concat()),
    }
}

#[cfg(test)]
mod tests {
    use db::Flavour;

    use super::{Seen, compare};
    use crate::doctor::finding::Health;

    fn seen(server: &str, version: &str, schema: i32, flavour: Flavour) -> Seen {
        Seen {
            server: Some(server.to_owned()),
            version: Some(version.to_owned()),
            schema: Some((schema, 1)),
            flavour: Some(flavour),
            clock: None,
        }
    }

    #[test]
    fn shards_may_differ_in_flavour_and_in_nothing_else() {
        let plain = |server, version, schema| seen(server, version, schema, Flavour::Postgres);
        for (shards, [servers, versions], told) in [
            (
                vec![plain("a", "17.2", 9), plain("b", "17.2", 9)],
                [Health::Ok; 2],
                "schema 9, functions 1; PostgreSQL 17.2",
            ),
            (vec![plain("a", "17.2", 9), Seen::default()], [Health::Ok; 2], "flavour postgres"),
            (
                vec![plain("a", "17.2", 9), seen("b", "17.2", 9, Flavour::Timescale)],
                [Health::Ok; 2],
                "flavour postgres in shard 0, flavour timescale in shard 1",
            ),
            (
                vec![plain("a", "17.2", 9), plain("b", "18.0", 9)],
                [Health::Ok, Health::Warning],
                "PostgreSQL 18.0 in shard 1",
            ),
            (
                vec![plain("a", "17.2", 9), plain("b", "17.2", 8), plain("c", "17.2", 9)],
                [Health::Ok, Health::Warning],
                "schema 9, functions 1 in shards 0 and 2",
            ),
            (vec![plain("a", "17.2", 9), plain("a", "17.2", 9)], [Health::Warning, Health::Ok], "schema 9"),
        ] {
            let found = compare(&shards);
            assert_eq!([found[0].health, found[1].health], [servers, versions], "{shards:?}");
            assert!(found[1].seen.contains(told), "{}", found[1].seen);
        }
        let shared = compare(&[plain("a", "17.2", 9), plain("b", "17.2", 9), plain("a", "17.2", 9)]);
        assert_eq!(shared[0].seen, "shards 0 and 2 are on one server");
    }
}
