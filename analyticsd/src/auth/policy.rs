use model::access::Scope;

/// The credentials that an endpoint requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// None, and no rate limit: a liveness probe must never be refused for its rate, nor half of the files of a page.
    Unlimited,
    /// None: the answer contains no data.
    Open,
    /// A token with this scope.
    Token(Scope),
    /// A token with this scope, or a public key.
    TokenOrPublicKey(Scope),
}

impl Policy {
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Self::Unlimited | Self::Open => None,
            Self::Token(scope) | Self::TokenOrPublicKey(scope) => Some(scope),
        }
    }
}
