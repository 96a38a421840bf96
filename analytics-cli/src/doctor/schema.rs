//! The schema: its migrations, its objects, and who may do what with them.

use db::{
    Access,
    objects::{Drift, DriftKind},
    roles,
    schema::{MigrationState, SchemaStatus},
};

use super::finding::Finding;

pub(super) const MIGRATIONS: &str = "migrations";
pub(super) const OBJECTS: &str = "schema objects";
pub(super) const RIGHTS: &str = "rights";
/// How many objects that are not as they should be are named in one line.
const NAMED_OBJECTS: usize = 10;

pub(super) fn judge_migrations(schema: &SchemaStatus) -> Finding {
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

pub(super) fn judge_objects(drift: &[Drift]) -> Finding {
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

pub(super) fn judge_rights(Access { owner_alone, needed, mighty_daemons, admission }: &Access) -> Finding {
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

#[cfg(test)]
mod tests {
    use db::{
        Access,
        objects::{Drift, DriftKind},
    };

    use super::{judge_objects, judge_rights};
    use crate::doctor::finding::Health;

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
}
