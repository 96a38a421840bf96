//! Which site a command is for.

use clap::Args;
use db::{Sites, Store};
use model::{SiteId, SiteName};

use crate::failure::Failure;

/// For commands that ask the server.
#[derive(Debug, Args)]
pub(crate) struct SiteOption {
    /// The site [default: the one that the token is for, or else the one without a name].
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<SiteName>,
}

/// The number of a site in the database.
pub(crate) async fn number_of(store: &Store, name: &SiteName) -> Result<SiteId, Failure> {
    Sites(store).find(name).await?.ok_or_else(|| Failure::CannotRun(unknown(name)))
}

pub(crate) fn unknown(name: &SiteName) -> String {
    format!("there is no site {name}; `analytics-cli site list` shows which there are")
}
