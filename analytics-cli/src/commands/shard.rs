use std::process::ExitCode;

use clap::{Args, Subcommand};
use db::{Found, FoundAt, Left, Shards};
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{
        self, ReportFormat,
        palette::Palette,
        table::{Side, layout},
    },
    settings::{DatabaseArgs, WithSources},
};

#[derive(Debug, Args)]
pub(crate) struct ShardArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the databases of the counter: where each is and lives, and whether it is the one that is meant.
    ///
    /// Exits 0 if all are, else 1.
    List {
        /// The output format.
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Say on which server a shard is used from now on, and let the one that it is on store nothing more of it.
    ///
    /// This is the step before a standby is promoted, when a shard moves. Every session of the shard on the old server is
    /// ended, and each new one is refused there. Prints where the server's log ends: a standby that has replayed it has
    /// every event that was acknowledged. Name the shards as the daemons still have them.
    ///
    /// docs/operate/scaling.md has the whole procedure.
    Move {
        /// The number of the shard, from 0.
        #[arg(value_name = "SHARD")]
        shard: usize,
        /// The servers that lead to it from now on, as they will stand in the URL: HOST:PORT, or FOLDER:PORT of a socket.
        #[arg(value_name = "SERVER", value_parser = server, required_unless_present = "anywhere", conflicts_with = "anywhere")]
        servers: Vec<String>,
        /// Use it wherever it is, as before it ever moved.
        #[arg(long)]
        anywhere: bool,
    },
}

fn server(text: &str) -> Result<String, String> {
    let is_server = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_name = !host.is_empty() && !host.contains(['/', '@']) && (!host.contains(':') || host.starts_with('['));
        (is_name || host.starts_with('/')) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_server {
        Ok(text.to_owned())
    } else {
        Err("it is no server; accepted is HOST:PORT, [ADDRESS]:PORT, or FOLDER:PORT of a socket".to_owned())
    }
}

pub(crate) async fn run(args: ShardArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    match args.action {
        Action::List { format } => list(shards, format).await,
        Action::Move { shard, servers, anywhere } => {
            if shard >= shards.len() {
                return Err(Failure::CannotRun(format!(
                    "there is no shard {shard}; accepted is 0 to {}",
                    shards.len() - 1
                )));
            }
            let lives_at = (!anywhere).then_some(servers.as_slice());
            let left = shards.move_shard(shard, lives_at).await?;
            let is_done = left.remaining.is_empty();
            output::print(&describe_move(shard, lives_at, &left))?;
            Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// What came of `move`, and what is to be done next.
fn describe_move(shard: usize, lives_at: Option<&[String]>, left: &Left) -> String {
    let Left { server, ended, remaining, log_position } = left;
    let Some(servers) = lives_at else { return format!("shard {shard} is used wherever it is\n") };
    let lives_at = servers.join(" or ");
    if servers.contains(server) {
        return format!("shard {shard} is used at {lives_at}, where it is\n");
    }
    if !remaining.is_empty() {
        let logins = remaining.join(", ");
        return format!(
            "shard {shard} is to be used at {lives_at}, but sessions of these logins on {server} could not be ended, and may still store events: {logins}\n\
             Run the command as a superuser, or as a member of the role pg_signal_backend.\n"
        );
    }
    format!(
        "shard {shard} is used at {lives_at} from now on; {server} stores nothing more of it ({ended} sessions ended)\n\
         log position {log_position}\n\
         Promote the standby once `select pg_last_wal_replay_lsn() >= '{log_position}'` is true there. Then start every daemon with the new URL.\n"
    )
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ListedShard {
    shard: usize,
    /// Where it was found; none if it does not answer.
    server: Option<String>,
    /// None: wherever it is.
    lives_at: Option<Vec<String>>,
    counter: Option<String>,
    /// What is wrong with it; none if it is the one that is meant.
    fault: Option<String>,
}

async fn list(shards: &Shards, format: ReportFormat) -> Result<ExitCode, Failure> {
    let (mut listed, mut said) = (Vec::new(), Vec::new());
    for (shard, answer) in shards.look().await.into_iter().enumerate() {
        let (found, error) = match answer {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error.to_string())),
        };
        said.push(found.clone());
        let misplaced = shards.misplaced(&said).pop().flatten().map(|fault| fault.to_string());
        let identity = found.as_ref().and_then(|FoundAt { found, .. }| match found {
            Found::Identity(identity) => Some(identity.clone()),
            Found::None | Found::NotAllowed => None,
        });
        listed.push(ListedShard {
            shard,
            server: found.map(|found| found.server),
            lives_at: identity.as_ref().and_then(|identity| identity.lives_at.clone()),
            counter: identity.map(|identity| identity.counter),
            fault: error.or(misplaced),
        });
    }
    let is_whole = listed.iter().all(|shard| shard.fault.is_none());
    output::print(&write(&listed, format, output::palette()))?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(shards: &[ListedShard], format: ReportFormat, palette: Palette) -> String {
    match format {
        ReportFormat::Json => output::pretty_json(&shards),
        ReportFormat::Table => {
            let row = |shard: &ListedShard| {
                let lives_at = shard.lives_at.as_ref().map_or("anywhere".to_owned(), |servers| servers.join(" or "));
                [
                    shard.shard.to_string(),
                    shard.server.clone().unwrap_or_else(|| "none".to_owned()),
                    lives_at,
                    shard.fault.clone().unwrap_or_else(|| "ok".to_owned()),
                ]
            };
            let rows: Vec<[String; 4]> = shards.iter().map(row).collect();
            layout(
                [("shard", Side::Right), ("server", Side::Left), ("lives at", Side::Left), ("state", Side::Left)],
                &rows,
                palette,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use db::Left;

    use super::{ListedShard, describe_move, server, write};
    use crate::output::{ReportFormat, palette::Palette};

    #[test]
    fn a_server_is_a_host_or_a_folder_with_a_port() {
        for (text, is_server) in [
            ("db-2.example:5432", true),
            ("[::1]:5432", true),
            ("/var/run/postgresql:5432", true),
            ("/var/run/postgresql", false),
            ("db-2.example", false),
            ("::1:5432", false),
            ("postgres://h:5432/db", false),
            ("h:0", false),
            (":5432", false),
        ] {
            assert_eq!(server(text).is_ok(), is_server, "{text}");
        }
    }

    #[test]
    fn what_is_to_be_done_next_is_said_of_a_shard_that_moves() {
        let new = ["db-2:5432".to_owned()];
        let left = |remaining: &[&str]| Left {
            server: "db-1:5432".to_owned(),
            ended: 7,
            remaining: remaining.iter().map(|&login| login.to_owned()).collect(),
            log_position: "0/3000060".to_owned(),
        };
        insta::assert_snapshot!(describe_move(3, Some(&new), &left(&[])), @r#"
        shard 3 is used at db-2:5432 from now on; db-1:5432 stores nothing more of it (7 sessions ended)
        log position 0/3000060
        Promote the standby once `select pg_last_wal_replay_lsn() >= '0/3000060'` is true there. Then start every daemon with the new URL.
        "#);
        assert!(describe_move(3, Some(&new), &left(&["anna"])).contains("could not be ended"));
        assert_eq!(
            describe_move(3, Some(&["db-1:5432".to_owned()]), &left(&[])),
            "shard 3 is used at db-1:5432, where it is\n"
        );
        assert_eq!(describe_move(3, None, &left(&[])), "shard 3 is used wherever it is\n");
    }

    #[test]
    fn shards_are_listed_with_what_is_wrong_with_them() {
        let shard = |shard, lives_at: Option<&str>, fault: Option<&str>| ListedShard {
            shard,
            server: fault.is_none().then(|| "db-1:5432".to_owned()),
            lives_at: lives_at.map(|server| vec![server.to_owned()]),
            counter: None,
            fault: fault.map(str::to_owned),
        };
        let shards =
            [shard(0, None, None), shard(1, Some("db-1:5432"), None), shard(2, None, Some("it does not answer"))];
        insta::assert_snapshot!(write(&shards, ReportFormat::Table, Palette::PLAIN), @r#"
        shard  server     lives at   state
            0  db-1:5432  anywhere   ok
            1  db-1:5432  db-1:5432  ok
            2  none       anywhere   it does not answer
        "#);
    }
}
