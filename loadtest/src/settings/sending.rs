use std::str::FromStr;

use model::{
    SiteName,
    access::{Credential, Origin},
};
use serde::Serialize;

use crate::traffic::Encoding;

#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Sending {
    /// Send every event and every batch under an idempotency key, as with --retries.
    ///
    /// A daemon of several databases takes batches only so, or from sources.
    #[arg(long)]
    pub(crate) keys: bool,

    /// How the bodies of batches are compressed.
    #[arg(long, default_value = "none", value_name = "ENCODING")]
    pub(crate) batch_encoding: Encoding,

    /// The public key of pixels and scripts, which then send no token.
    ///
    /// SITE=KEY is for one of several sites, and may be given for each.
    #[arg(long = "public-key", value_name = "[SITE=]KEY")]
    #[serde(skip)]
    pub(crate) public_keys: Vec<PublicKey>,

    /// Where the pages of pixels and scripts are: `https://HOST`.
    ///
    /// A public key is for such an origin.
    #[arg(long, value_name = "ORIGIN")]
    #[serde(skip)]
    pub(crate) origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// None: for all sites that have no key of their own.
    pub(crate) site: Option<SiteName>,
    pub(crate) key: String,
}

impl FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ACCEPTED: &str = "accepted is a public key, which begins with pk_, or SITE=KEY";
        let (site, key) = text.split_once('=').map_or((None, text), |(site, key)| (Some(site), key));
        let site = site.map(SiteName::new).transpose().map_err(|_| ACCEPTED)?;
        match Credential::parse(key) {
            Some(Credential::Public { .. }) => Ok(Self { site, key: key.to_owned() }),
            _ => Err(ACCEPTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PublicKey;

    #[test]
    fn a_public_key_may_be_for_one_site_and_a_secret_is_refused() {
        let site = |text: &str| text.parse::<PublicKey>().map(|key| key.site.map(|site| site.to_string()));
        assert_eq!(site("pk_ffffffffffff"), Ok(None));
        assert_eq!(site("shop=pk_ffffffffffff"), Ok(Some("shop".to_owned())));
        for wrong in ["", "pk_", "shop=", "sh op=pk_ffffffffffff", "at_0123456789abcdef"] {
            assert!(site(wrong).is_err(), "{wrong:?}");
        }
    }
}
