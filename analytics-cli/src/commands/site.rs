use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use db::{CreatedSite, DeletedSite, RenamedSite, Shards, SiteRow, Sites};
use model::SiteName;
use serde::Serialize;

use crate::{
    database::check_first_schema,
    failure::Failure,
    output::{
        self, ReportFormat,
        palette::Palette,
        table::{Side, layout},
    },
    settings::{DatabaseArgs, WithSources},
    site,
};

#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a site. Every daemon counts for it within a second.
    ///
    /// Of a counter of several databases all must answer.
    Create {
        /// The site's name: 1 to 64 ASCII letters, digits, dots, hyphens and underscores.
        #[arg(value_name = "SITE")]
        name: SiteName,
    },
    /// List all sites by name.
    List {
        /// The output format.
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Give a site another name.
    ///
    /// Tokens for the site stay valid. Requests that name it by its old name are refused within a second.
    Rename {
        /// The site's name.
        #[arg(value_name = "SITE")]
        name: SiteName,
        /// Its new name.
        #[arg(value_name = "NEW_NAME")]
        new_name: SiteName,
    },
    /// Let a site take no more events. Its counts stay as they are, and can be read.
    Archive {
        /// The site's name.
        #[arg(value_name = "SITE")]
        name: SiteName,
        /// Let it take events again.
        #[arg(long)]
        undo: bool,
    },
    /// Delete a site for ever.
    ///
    /// Nobody can write to the site or read it from now on, and its name is free. The running daemons delete its raw
    /// events, idempotency keys and counters, a day at a time. The sums of its hours stay in the hourly aggregate,
    /// where no command finds them; they hold no names of visitors.
    Delete {
        /// The site's name.
        #[arg(value_name = "SITE")]
        name: SiteName,
        /// Do it. Without this, the command only says what it would do.
        #[arg(long)]
        yes: bool,
    },
}

/// Sites are made and changed in the first shard. The others have copies.
pub(crate) async fn run(args: SiteArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    check_first_schema(shards).await?;
    let changes = !matches!(args.action, Action::List { .. });
    let code = act(args.action, shards).await?;
    if changes && code == ExitCode::SUCCESS {
        copy(shards).await;
    }
    Ok(code)
}

/// Lets the other shards know at once. Until they do, they go on taking events of a site that was deleted.
async fn copy(shards: &Shards) {
    for error in shards.copy_sites().await.err().into_iter().flatten() {
        output::warn(&format!("{error}; a running daemon copies the sites to this shard once that is possible"));
    }
}

async fn act(action: Action, shards: &Shards) -> Result<ExitCode, Failure> {
    let sites = Sites(shards.first());
    Ok(match action {
        Action::Create { name } => match shards.create_site(&name, None).await? {
            CreatedSite::Created(_) => {
                done(&format!("made the site {name}; every daemon counts for it within a second"))
            }
            CreatedSite::Exists | CreatedSite::TooMany => {
                failed(&format!("there is a site {name} already; choose another name"))
            }
        },
        Action::List { format } => {
            output::print(&write(&sites.list().await?, format, output::palette()))?;
            ExitCode::SUCCESS
        }
        Action::Rename { name, new_name } => match sites.rename(&name, &new_name).await? {
            RenamedSite::Renamed => done(&format!("the site {name} is called {new_name} now")),
            RenamedSite::Unknown => unknown(&name),
            RenamedSite::Taken => failed(&format!("there is a site {new_name} already; choose another name")),
        },
        Action::Archive { name, undo } => {
            if !sites.archive(&name, !undo).await? {
                return Ok(unknown(&name));
            }
            done(&if undo {
                format!("the site {name} takes events again within a second")
            } else {
                format!("the site {name} takes no events any more within a second; `--undo` lets it take them again")
            })
        }
        Action::Delete { name, yes } => delete(sites, &name, yes).await?,
    })
}

async fn delete(sites: Sites<'_>, name: &SiteName, yes: bool) -> Result<ExitCode, Failure> {
    if !yes {
        if sites.find(name).await?.is_none() {
            return Ok(unknown(name));
        }
        return Ok(failed(&format!(
            "this would delete the site {name} for ever, with its events and counts; give --yes to do it, or use \
             `analytics-cli site archive {name}`"
        )));
    }
    Ok(match sites.delete(name).await? {
        DeletedSite::Deleted => done(&format!(
            "deleted the site {name}: nobody can read it any more; the running daemons delete its events"
        )),
        DeletedSite::Unknown => unknown(name),
        DeletedSite::Busy => failed(&format!(
            "the site {name} is as it was: an hour is being rebuilt or settled, which locks all sites. Try again in a minute"
        )),
    })
}

fn done(message: &str) -> ExitCode {
    output::message(message);
    ExitCode::SUCCESS
}

fn failed(message: &str) -> ExitCode {
    output::error(message);
    ExitCode::FAILURE
}

fn unknown(name: &SiteName) -> ExitCode {
    failed(&site::unknown(name))
}

#[derive(Serialize)]
struct Listed<'a> {
    site: &'a str,
    /// What logs and the spool's files call it.
    number: i32,
    created_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
}

fn write(rows: &[SiteRow], format: ReportFormat, palette: Palette) -> String {
    match format {
        ReportFormat::Json => {
            let listed: Vec<Listed> = rows
                .iter()
                .map(|SiteRow { id, name, created_at, archived_at }| Listed {
                    site: name,
                    number: id.number(),
                    created_at: *created_at,
                    archived_at: *archived_at,
                })
                .collect();
            output::pretty_json(&listed)
        }
        ReportFormat::Table => {
            let date = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let cells: Vec<_> = rows
                .iter()
                .map(|row| {
                    let archived = row.archived_at.map(date).unwrap_or_default();
                    [row.name.clone(), row.id.number().to_string(), date(row.created_at), archived]
                })
                .collect();
            let columns =
                [("site", Side::Left), ("number", Side::Right), ("created", Side::Left), ("archived", Side::Left)];
            layout(columns, &cells, palette)
        }
    }
}
