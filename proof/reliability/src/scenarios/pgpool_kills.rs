//! The server's side of connections through pgpool-II, ended one by one.

use super::connections_killed::kill_under_load;
use crate::{options::Options, pgpool::Pgpool, report::Report};

/// As `connections_killed`, through a pooler that reports a broken connection with its own error, and continues on
/// another one.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    const NAME: &str = "pg_terminate_backend behind pgpool-II";
    if !Pgpool::is_installed() {
        return Ok(Report::skipped(NAME, "pgpool-II is not installed (on Debian: apt-get install pgpool2)"));
    }
    let server = options.start_server().await?;
    let pgpool = Pgpool::start(server.url(), &server.socket()).await?;
    kill_under_load(Report::new(NAME), options, &server, pgpool.url()).await
}
