use std::time::Duration;

use model::{InvalidInput, access::Scope};

use super::Policy;

/// Why the gate refuses a request.
#[derive(Debug)]
pub(crate) enum Refusal {
    Denied(Denial),
    RateLimited(RateLimited),
}

/// A limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimited {
    pub(crate) limit: Limit,
    /// In seconds, at least 1.
    pub(crate) retry_after: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    PerToken,
    PerAddress,
    PerSite,
    /// Requests without valid credentials.
    Guesses,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Why a request is denied.
#[derive(Debug)]
pub(crate) enum Denial {
    /// The request has no token, which this requires.
    Missing(Policy),
    /// Its token is not valid.
    Invalid,
    /// Its token is that of a share link, and this server accepts none.
    ShareLinksOff,
    /// It has a secret in its URL.
    SecretInUrl,
    /// It has more than one token.
    Several,
    /// Its parameter `key` cannot be parsed.
    Unreadable(InvalidInput),
    /// Its token lacks this scope.
    Scope(Scope),
    /// Its public key is for pages of other origins.
    Origin,
    /// Its public key is for single events only.
    PublicBatch,
    /// The tokens were not read yet.
    NotKnownYet,
    /// It has no token, and the daemon cannot read whether a first token exists by now.
    NotKnownNow,
    /// Its token was valid when tokens were last read, but that was longer ago than `--tokens-valid-for`.
    KnownTooLongAgo(Duration),
    /// A preflight from an origin that is not allowed.
    Preflight,
    /// There is no token yet, and the host is not this machine.
    ForeignHost,
    /// There is no token yet, and a page of another site sends the request.
    ForeignPage,
    /// There is no token yet, and a proxy forwards the request.
    Proxied,
}

impl Denial {
    /// Whether the client may be guessing tokens.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Invalid | Self::SecretInUrl | Self::Several | Self::Unreadable(_))
    }
}
