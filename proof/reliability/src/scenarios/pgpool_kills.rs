//! The server's side of connections through pgpool-II, ended one by one.

use super::connections_killed::kill_under_load;
use crate::{options::Options, pgpool::Pgpool, postgres::Server, report::Report};

/// As `connections_killed`, through a proxy that tells of the end of a connection in words of its own, and goes on with another.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    const NAME: &str = "pg_terminate_backend behind pgpool-II";
    if !Pgpool::is_there() {
        return Ok(Report::skipped(NAME, "pgpool-II is not installed (on Debian: apt-get install pgpool2)"));
    }
    let server = Server::start(options).await?;
    let pgpool = Pgpool::start(server.url(), &server.socket()?).await?;
    kill_under_load(Report::new(NAME), options, &server, pgpool.url()).await
}
