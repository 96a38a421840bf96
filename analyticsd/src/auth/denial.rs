use std::time::Duration;

use model::{InvalidInput, access::Scope};

use crate::telemetry::metrics::Listener;

/// Why the gate lets a request not pass.
#[derive(Debug)]
pub(crate) enum Refusal {
    Denied(Denial),
    RateLimited(RateLimited),
}

/// More requests came than a limit accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimited {
    pub(crate) limit: Limit,
    /// In seconds, at least 1.
    pub(crate) retry_after: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    PerToken,
    PerAddress,
    /// Of requests that show what lets nobody in.
    Guesses,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Why a request may not come in.
#[derive(Debug)]
pub(crate) enum Denial {
    /// It shows nothing to a listener that serves this.
    Missing(Listener),
    /// It shows something that lets nobody in.
    Invalid,
    /// It shows a secret in its URL.
    SecretInUrl,
    /// It shows several things.
    Several,
    /// Its parameter cannot be read.
    Unreadable(InvalidInput),
    /// Its token does not allow this.
    Scope(Scope),
    /// Its public key is for pages of other origins.
    Origin,
    /// Its public key is for single events only.
    PublicBatch,
    /// Nobody knows yet which tokens there are.
    NotKnownYet,
    /// It shows nothing, and whether there is a first token by now cannot be read.
    NotKnownNow,
    /// Its token was valid when tokens were last read, which is longer ago than they stay in force.
    KnownTooLongAgo(Duration),
    /// A page of another origin asks whether it may ask.
    Preflight,
    /// There is no token yet, and a name is asked that is not this machine's own.
    ForeignHost,
    /// There is no token yet, and a page from elsewhere asks.
    ForeignPage,
    /// There is no token yet, and a proxy asks for somebody.
    Proxied,
}

impl Denial {
    /// Whether somebody may be guessing.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Invalid | Self::SecretInUrl | Self::Several | Self::Unreadable(_))
    }
}
