use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /analytics/sites`: the sites that its client may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteList {
    /// By name.
    pub sites: Vec<ListedSite>,
    /// Whether the client may read the site without a name too, which a request without the parameter `site` is for.
    pub nameless: bool,
}

/// A site of a [`SiteList`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ListedSite {
    /// What requests call it.
    pub name: String,
    /// Whether it takes no events any more.
    pub archived: bool,
}
