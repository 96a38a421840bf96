//! The table of tokens as it was last read.

use chrono::{DateTime, Utc};
use db::{LiveAccessToken, LiveAccessTokens};
use model::{
    SiteId,
    access::{Credential, Digest},
};
use subtle::ConstantTimeEq;

use super::{known_sites::SiteAccess, rate_limit::Owner};

/// The table of tokens as it was last read.
#[derive(Debug, Default)]
pub(super) struct KnownTokens {
    pub(super) changes: i64,
    /// Whether a token ever existed, as far as this daemon has seen. Restoring an older database does not reset it.
    pub(super) ever: bool,
    /// Sorted by id.
    tokens: Vec<KnownToken>,
}

/// A token, with what is computed once for it.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) token: LiveAccessToken,
    /// Its key in the rate limiter for tokens.
    pub(super) owner: Owner,
    pub(super) sites: SiteAccess,
}

impl KnownToken {
    /// Whether it is a public key for pages of an origin.
    pub(super) fn is_for_pages_of(&self, origin: &str) -> bool {
        self.token.origins.iter().any(|allowed| allowed == origin)
    }
}

impl KnownTokens {
    pub(super) fn new(LiveAccessTokens { changes, tokens }: LiveAccessTokens, ever: bool) -> Self {
        let known = |token: LiveAccessToken| KnownToken {
            owner: Owner::of_token(&token.id),
            sites: match &token.sites {
                Some(sites) => SiteAccess::Only(sites.as_slice().into()),
                // Everybody can read a public key.
                None if token.digest.is_none() => SiteAccess::Only([SiteId::NAMELESS].into()),
                None => SiteAccess::All,
            },
            token,
        };
        let mut tokens: Vec<_> = tokens.into_iter().map(known).collect();
        tokens.sort_unstable_by(|one, other| one.token.id.cmp(&other.token.id));
        Self { changes, ever: ever || changes > 0, tokens }
    }

    /// The token of a request, if its secret is right and it has not expired. A public key has no secret.
    pub(super) fn find(&self, credential: Credential, now: impl Fn() -> DateTime<Utc>) -> Option<&KnownToken> {
        let (id, secret) = match credential {
            Credential::Secret { id, secret } => (id, Some(secret)),
            Credential::Public { id } => (id, None),
        };
        let place = self.tokens.binary_search_by(|known| known.token.id.as_str().cmp(id));
        let found = place.ok().map(|place| &self.tokens[place]);
        let digest = found.and_then(|known| known.token.digest);
        let is_right = match secret {
            // The time of this comparison reveals nothing about the secret, not even whether the token exists.
            Some(secret) => {
                let is_equal = words(&Credential::digest(secret)).ct_eq(&words(&digest.unwrap_or(NOBODYS)));
                bool::from(is_equal) && digest.is_some()
            }
            None => digest.is_none(),
        };
        found.filter(|known| is_right && known.token.expires_at.is_none_or(|end| now() < end))
    }
}

/// A digest in words: a comparison in constant time takes four steps instead of 32.
fn words(digest: &Digest) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

/// The digest to compare with if there is no such token.
const NOBODYS: Digest = [0; 32];

#[cfg(test)]
impl KnownTokens {
    pub(super) fn of(changes: i64, tokens: Vec<LiveAccessToken>) -> Self {
        Self::new(LiveAccessTokens { changes, tokens }, false)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use db::{LiveAccessToken, LiveAccessTokens};
    use model::access::{Credential, IssuedToken, Scope, Scopes};

    use super::KnownTokens;

    fn token(issued: &IssuedToken, expires_at: Option<i64>) -> LiveAccessToken {
        LiveAccessToken {
            id: issued.id.clone(),
            scopes: Scopes::from_iter([Scope::Write]),
            digest: issued.digest,
            origins: vec![],
            sites: None,
            is_share: false,
            expires_at: expires_at.map(|at| DateTime::from_timestamp(at, 0).unwrap()),
        }
    }

    #[test]
    fn only_the_right_secret_finds_a_token_and_only_until_it_expires() {
        let bytes = |last| {
            let mut bytes = [7; IssuedToken::RANDOM_BYTES];
            bytes[IssuedToken::RANDOM_BYTES - 1] = last;
            bytes
        };
        let (right, wrong) = (IssuedToken::secret(bytes(1)), IssuedToken::secret(bytes(2)));
        let public = IssuedToken::public([9; IssuedToken::RANDOM_BYTES]);
        let known = KnownTokens::of(2, vec![token(&right, Some(1_000)), token(&public, None)]);
        let finds = |text: &str, now| {
            let now = || DateTime::<Utc>::from_timestamp(now, 0).unwrap();
            known.find(Credential::parse(text).unwrap(), now).map(|known| known.token.id.clone())
        };
        assert_eq!(finds(&right.text, 999), Some(right.id.clone()));
        assert_eq!(finds(&right.text, 1_000), None, "it has expired");
        assert_eq!(finds(&wrong.text, 0), None, "the secret is wrong");
        assert_eq!(finds(&public.text, 0), Some(public.id.clone()));
        assert_eq!(finds(&format!("pk_{}", right.id), 0), None, "a token is not a public key");
        let secret = right.text.rsplit_once('_').unwrap().1;
        assert_eq!(finds(&format!("an_{}_{secret}", public.id), 0), None, "a public key has no secret");
        assert_eq!(finds(&IssuedToken::public([8; IssuedToken::RANDOM_BYTES]).text, 0), None);
    }

    #[test]
    fn a_table_that_forgot_its_tokens_does_not_open_the_daemon() {
        let nothing = || LiveAccessTokens { changes: 0, tokens: vec![] };
        assert!(!KnownTokens::new(nothing(), false).ever);
        assert!(KnownTokens::new(nothing(), true).ever);
        assert!(KnownTokens::new(LiveAccessTokens { changes: 3, tokens: vec![] }, false).ever);
    }
}
