//! Which site a command is for.

use std::collections::HashMap;

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

/// The names of all sites that are not deleted, by number.
pub(crate) async fn names(store: &Store) -> Result<HashMap<SiteId, String>, Failure> {
    Ok(Sites(store).list().await?.into_iter().map(|site| (site.id, site.name)).collect())
}

/// The name of a site for output: empty for the one without a name, and the number of one that was made meanwhile.
pub(crate) fn name_in(names: &HashMap<SiteId, String>, site: SiteId) -> String {
    let number = || if site == SiteId::NAMELESS { String::new() } else { format!("#{}", site.number()) };
    names.get(&site).cloned().unwrap_or_else(number)
}
