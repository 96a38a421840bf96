//! Which certificates of servers are trusted besides those that this machine trusts.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, ClientBuilder};
use thiserror::Error;

#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Vec<Certificate>);

#[derive(Debug, Error)]
pub(crate) enum TrustError {
    #[error("cannot read {0}: {1}; give --ca-file a file that this user may read")]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error(
        "{0} has no certificate in PEM; give --ca-file what lies between BEGIN CERTIFICATE and END CERTIFICATE of the authority"
    )]
    NoCertificate(PathBuf),
}

impl Trust {
    /// Also in the authorities of a file.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, TrustError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let pem = std::fs::read(file).map_err(|error| TrustError::Unreadable(file.to_owned(), error))?;
        let trust = Self(Certificate::from_pem_bundle(&pem).unwrap_or_default());
        // What a certificate holds is looked at when it is used.
        if trust.0.is_empty() || trust.client().build().is_err() {
            return Err(TrustError::NoCertificate(file.to_owned()));
        }
        Ok(trust)
    }

    pub(crate) fn is_the_machines(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().tls_certs_merge(self.0.iter().cloned())
    }
}
