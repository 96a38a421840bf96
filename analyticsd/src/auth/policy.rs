use model::access::Scope;

/// What a request must show to use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing, and no rate limit counts it: a probe that asks whether the process lives must never be asked to come back later.
    Unlimited,
    /// Nothing: what is there is part of the program, or holds no data.
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
