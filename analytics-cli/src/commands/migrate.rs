use std::{fmt::Write, process::ExitCode};

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use db::{
    Flavour, Shards,
    roles::{self, Roles, Use},
    schema::{self, FunctionsStatus, Migrated, MigrationState, MigrationStatus, SchemaStatus},
};

use crate::{
    database::{AtShard, label},
    failure::Failure,
    output::{
        self,
        palette::Palette,
        table::{self, Side},
    },
    settings::{DatabaseArgs, WithSources},
};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply what is pending and set up the roles, if the schema uses them; exit 1 until what takes more rights is done. Of several
    /// databases none is begun unless all answer.
    Up {
        /// How raw events are partitioned, chosen once for a new schema; without it, the server's offer decides.
        #[arg(long, value_parser = PossibleValuesParser::new(["timescale", "postgres"]).try_map(|name| name.parse::<Flavour>()))]
        flavour: Option<Flavour>,
        /// Do without roles: everything belongs to this login, which the daemons use too. Recorded in the schema, so that later runs
        /// keep to it.
        #[arg(long, conflicts_with = "with_roles")]
        without_roles: bool,
        /// Set up the roles of daemons and readers after all, where the schema does without them.
        #[arg(long)]
        with_roles: bool,
    },
    /// Show how every migration and the functions stand; exit 1 unless all are applied as this build knows them.
    Status,
    /// Check that what is applied is what this build holds; exit 1 if not.
    Verify,
}

/// Migrates, or looks at the schema of each database.
pub(crate) async fn run(args: MigrateArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    match args.action {
        Action::Up { flavour, without_roles, with_roles } => {
            let chosen = match (without_roles, with_roles) {
                (true, _) => Some(Use::OwnerAlone),
                (_, true) => Some(Use::Roles),
                _ => None,
            };
            let mut is_done = true;
            for (shard, migrated) in shards.migrate(flavour, chosen).await?.into_iter().enumerate() {
                let Migrated { flavour, applied, is_newer, used, roles } = migrated;
                let label = label(shards, shard);
                output::print(&under(label.as_deref(), &describe_up(flavour, used, &applied)))?;
                if is_newer {
                    let newer = "A newer version made the schema, and this one can run on it: what it holds itself was not applied.";
                    tell(label.as_deref(), newer);
                }
                if let Some(remark) = remark_on_roles(used, &roles) {
                    tell(label.as_deref(), &remark);
                }
                is_done &= roles.lacking.is_empty();
            }
            Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Action::Status => look(shards, |status| (describe_status(status, output::palette()), status.complaint())).await,
        Action::Verify => look(shards, |status| (describe_differences(status), verify_complaint(status))).await,
    }
}

/// Prints what is said of each schema, and what there is to complain of; to have nothing is a yes.
async fn look(
    shards: &Shards,
    describe: impl Fn(&SchemaStatus) -> (String, Option<String>),
) -> Result<ExitCode, Failure> {
    let mut is_right = true;
    for (shard, store) in shards.iter().enumerate() {
        // As it is, since one that was never migrated has no identity yet.
        let status = schema::inspect(&store.without_identity()).await.at(shards, shard)?;
        let (described, complaint) = describe(&status);
        let label = label(shards, shard);
        output::print(&under(label.as_deref(), &described))?;
        if let Some(complaint) = complaint {
            tell(label.as_deref(), &complaint);
            is_right = false;
        }
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is said of one of several databases stands under its name.
fn under(label: Option<&str>, text: &str) -> String {
    label.map_or_else(|| text.to_owned(), |label| format!("{label}\n{text}"))
}

fn tell(label: Option<&str>, text: &str) {
    output::message(&label.map_or_else(|| text.to_owned(), |label| format!("{label}: {text}")));
}

/// The first line of `up` and `status`.
fn describe_kind(flavour: &str, used: Option<Use>) -> String {
    let roles = if used == Some(Use::OwnerAlone) { ", without roles" } else { "" };
    format!("flavour {flavour}{roles}\n")
}

fn describe_up(flavour: Flavour, used: Use, applied: &[String]) -> String {
    let mut text = describe_kind(flavour.as_str(), Some(used));
    for name in applied {
        writeln!(text, "applied {name}").expect("writing into memory cannot fail");
    }
    if applied.is_empty() {
        text.push_str("nothing to apply, the schema is current\n");
    }
    text
}

/// What whoever migrates has to know of roles; none where all is as before.
fn remark_on_roles(used: Use, Roles { made, lacking }: &Roles) -> Option<String> {
    if !lacking.is_empty() {
        let statements = lacking.join(";\n    ");
        if used == Use::OwnerAlone {
            return Some(format!(
                "This is not done: not everything belongs to one login yet, which takes more rights than this login has. A superuser has to run, \
                 connected to this database:\n    {statements};\nand then this login the command again."
            ));
        }
        return Some(format!(
            "This is not done: the roles of daemons and readers are not all set up, which takes more rights than this login has. A superuser has to \
             run, connected to this database:\n    {statements};\nand then this login the command again, which does the rest. Or a superuser runs the \
             command once. Or `--without-roles` leaves everything with this login, which the daemons then use too."
        ));
    }
    (!made.is_empty()).then(|| {
        format!(
            "Made the roles {}. Give the daemon and each reader a login of their own: `create role … login password '…' in role {}`, and \
             `… in role {}`.",
            made.join(", "),
            roles::DAEMON,
            roles::READER
        )
    })
}

fn describe_status(status: &SchemaStatus, palette: Palette) -> String {
    let mut rows: Vec<[String; 3]> = status
        .migrations
        .iter()
        .map(|MigrationStatus { version, name, state }| [version.to_string(), name.clone(), state.to_string()])
        .collect();
    let FunctionsStatus { version, state, .. } = &status.functions;
    rows.push([version.to_string(), "functions".to_owned(), state.to_string()]);
    let flavour = status.flavour.map_or("none yet", Flavour::as_str);
    let table = table::layout([("version", Side::Right), ("name", Side::Left), ("state", Side::Left)], &rows, palette);
    format!("{}{table}", describe_kind(flavour, status.roles))
}

fn describe_differences(status: &SchemaStatus) -> String {
    let mut text = String::new();
    for MigrationStatus { version, name, state } in &status.migrations {
        if matches!(state, MigrationState::Altered | MigrationState::Unknown) {
            writeln!(text, "{state} {version} {name}").expect("writing into memory cannot fail");
        }
    }
    if status.functions.state == MigrationState::Unknown {
        writeln!(text, "unknown functions {}", status.functions.version).expect("writing into memory cannot fail");
    }
    for drift in &status.functions.drift {
        writeln!(text, "{drift}").expect("writing into memory cannot fail");
    }
    if text.is_empty() {
        let applied = status.count(MigrationState::Applied);
        writeln!(text, "verified {applied} applied migrations").expect("writing into memory cannot fail");
    }
    text
}

fn verify_complaint(status: &SchemaStatus) -> Option<String> {
    let (altered, unknown) = (status.count(MigrationState::Altered), status.count(MigrationState::Unknown));
    let mut faults = Vec::new();
    if altered > 0 {
        faults.push(format!(
            "{altered} applied migrations are not the ones that this build holds: install the version that applied them, or \
             migrate an empty database and import into it"
        ));
    }
    if unknown > 0 {
        faults.push(format!(
            "{unknown} applied migrations are unknown to this build: install the newer version that applied them"
        ));
    }
    if status.functions.state == MigrationState::Unknown {
        faults.push("a newer version made the functions: install that version".to_owned());
    }
    if !status.functions.drift.is_empty() {
        faults.push(format!(
            "{} functions or views are not as they were made: `analytics-cli migrate up` makes them anew",
            status.functions.drift.len()
        ));
    }
    (!faults.is_empty()).then(|| faults.join("\n"))
}

#[cfg(test)]
mod tests {
    use db::{
        Flavour,
        objects::{Drift, DriftKind},
        roles::{Roles, Use},
        schema::{FunctionsStatus, MigrationState, MigrationStatus, SchemaStatus},
    };

    use super::{describe_differences, describe_status, describe_up, remark_on_roles, verify_complaint};
    use crate::output::palette::Palette;

    fn schema(states: &[MigrationState]) -> SchemaStatus {
        let migrations = (1..)
            .zip(states)
            .map(|(version, &state)| MigrationStatus { version, name: format!("step_{version}"), state })
            .collect();
        let functions =
            FunctionsStatus { version: 1, state: MigrationState::Applied, drift: Vec::new(), oldest_compatible: 1 };
        let roles = Some(Use::Roles);
        SchemaStatus { flavour: Some(Flavour::Postgres), migrations, functions, oldest_compatible: None, roles }
    }

    #[test]
    fn every_migration_is_shown_with_its_state() {
        let status = schema(&[MigrationState::Applied, MigrationState::Altered, MigrationState::Pending]);
        insta::assert_snapshot!(describe_status(&status, Palette::PLAIN), @r#"
        flavour postgres
        version  name       state
              1  step_1     applied
              2  step_2     altered
              3  step_3     pending
              1  functions  applied
        "#);
    }

    #[test]
    fn what_was_applied_is_named() {
        insta::assert_snapshot!(describe_up(Flavour::Timescale, Use::Roles, &["V1__a".to_owned(), "V2__b".to_owned()]), @r#"
        flavour timescale
        applied V1__a
        applied V2__b
        "#);
        insta::assert_snapshot!(describe_up(Flavour::Postgres, Use::OwnerAlone, &[]), @r#"
        flavour postgres, without roles
        nothing to apply, the schema is current
        "#);
    }

    #[test]
    fn who_has_to_do_what_about_roles_is_told() {
        let roles = |made: &[&str], lacking: &[&str]| Roles {
            made: made.iter().map(|&name| name.to_owned()).collect(),
            lacking: lacking.iter().map(|&statement| statement.to_owned()).collect(),
        };
        assert_eq!(remark_on_roles(Use::Roles, &roles(&[], &[])), None);
        assert!(
            remark_on_roles(Use::Roles, &roles(&["analytics_daemon"], &[]))
                .unwrap()
                .contains("in role analytics_daemon")
        );
        let lacking = remark_on_roles(Use::Roles, &roles(&[], &["create role analytics_daemon"])).unwrap();
        assert!(lacking.contains("superuser") && lacking.contains("    create role analytics_daemon;"), "{lacking}");
        let lacking = remark_on_roles(Use::OwnerAlone, &roles(&[], &["alter schema analytics owner to anna"])).unwrap();
        assert!(
            lacking.contains("    alter schema analytics owner to anna;") && !lacking.contains("roles"),
            "{lacking}"
        );
    }

    #[test]
    fn altered_and_unknown_migrations_are_named_by_verify() {
        let status = schema(&[MigrationState::Applied, MigrationState::Altered, MigrationState::Unknown]);
        assert_eq!(describe_differences(&status), "altered 2 step_2\nunknown 3 step_3\n");
        assert_eq!(verify_complaint(&status).unwrap().lines().count(), 2);
    }

    #[test]
    fn functions_that_were_changed_by_hand_or_are_newer_are_named_by_verify() {
        let mut status = schema(&[MigrationState::Applied]);
        let object = "function analytics.counts(hours timestamptz[])".to_owned();
        status.functions.state = MigrationState::Altered;
        status.functions.drift = vec![Drift { object, kind: DriftKind::Changed }];
        assert_eq!(describe_differences(&status), "changed function analytics.counts(hours timestamptz[])\n");
        assert!(verify_complaint(&status).unwrap().contains("migrate up"));

        status.functions =
            FunctionsStatus { version: 2, state: MigrationState::Unknown, drift: Vec::new(), oldest_compatible: 1 };
        assert_eq!(describe_differences(&status), "unknown functions 2\n");
        assert!(verify_complaint(&status).unwrap().contains("newer version"));
    }

    #[test]
    fn pending_migrations_do_not_disturb_verify() {
        let status = schema(&[MigrationState::Applied, MigrationState::Pending]);
        assert_eq!(describe_differences(&status), "verified 1 applied migrations\n");
        assert_eq!(verify_complaint(&status), None);
    }
}
