use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwapOption, Guard};
use chrono::{DateTime, Utc};
use db::{AccessTokens, LiveAccessToken, LiveAccessTokens, Store, StoreError, StoreOptions};
use model::access::{Credential, Digest};
use subtle::ConstantTimeEq;

use super::{
    freshness::{ANONYMOUS_PATIENCE, Freshness},
    rate_limit::Owner,
    token_cache::{Recalled, TokenCache},
};

/// How often the table is read. A new or revoked token takes effect after this time in every replica.
const PERIOD: Duration = Duration::from_millis(500);
/// How long opening its connection may take: six round trips with a password.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon's copy of the table of tokens. Requests read it without a lock; each change in the database replaces it
/// as a whole.
pub(crate) struct Tokens {
    store: Store,
    /// `None` until the tokens were read for the first time.
    known: ArcSwapOption<Known>,
    freshness: Freshness,
    kept: Option<TokenCache>,
}

/// The table of tokens as it was last read.
#[derive(Debug, Default)]
pub(super) struct Known {
    changes: i64,
    /// Whether a token ever existed, as far as this daemon has seen. Restoring an older database does not reset it.
    pub(super) ever: bool,
    /// Sorted by id.
    tokens: Vec<KnownToken>,
    /// The origins of all public keys.
    pub(super) page_origins: HashSet<String>,
}

/// A token, with what is computed once for it.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) token: LiveAccessToken,
    /// Its key in the rate limiter for tokens.
    pub(super) owner: Owner,
}

impl Tokens {
    /// Prepares a connection of its own, so that a busy daemon still notices revoked tokens; nothing is opened yet.
    /// Tokens are valid for `valid_for` after they were last read. They are also written to `folder`, if there is one,
    /// for a start without the database: see [`Tokens::recall`].
    pub(crate) fn new(store: &Store, valid_for: Duration, folder: Option<&Path>) -> Self {
        let options = StoreOptions {
            application_name: "analyticsd access".to_owned(),
            max_connections: 1,
            works_on_raw_events: false,
            connect_timeout: CONNECT_PATIENCE,
            statement_timeout: PATIENCE,
            ..StoreOptions::default()
        };
        Self {
            store: store.with_options(options),
            known: ArcSwapOption::empty(),
            freshness: Freshness::new(valid_for),
            kept: folder.map(TokenCache::in_folder),
        }
    }

    /// Reads the table if it changed since the last time. [`Tokens::keep`] or [`Tokens::follow`] writes the result to
    /// disk.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let before = self.known.load_full();
        let changed = AccessTokens(&self.store).changed_since(before.as_ref().map(|known| known.changes)).await?;
        if let Some(tokens) = changed {
            if let Some(kept) = &self.kept {
                kept.replace(&tokens, Utc::now());
            }
            let ever = before.is_some_and(|known| known.ever);
            self.known.store(Some(Arc::new(Known::new(tokens, ever))));
        } else if let Some(kept) = &self.kept {
            kept.confirm(Utc::now());
        }
        self.freshness.read(Instant::now());
        Ok(())
    }

    /// Writes the tokens to disk for a start without the database. [`Tokens::follow`] logs a failure and tries again.
    pub(crate) async fn keep(&self) {
        if let Some(kept) = &self.kept {
            let _ = kept.write().await;
        }
    }

    /// Reads the tokens that the last run wrote to disk, when the database cannot be reached. If that fails, requests
    /// that need a token are refused.
    pub(crate) fn recall(&self) {
        match self.kept.as_ref().map(TokenCache::read) {
            Some(Ok(Some(Recalled { tokens, read_at }))) => {
                // A time in the future comes from a clock that was corrected since.
                let age = (Utc::now() - read_at).to_std().unwrap_or_default();
                self.freshness.recalled(Instant::now(), age);
                self.known.store(Some(Arc::new(Known::new(tokens, false))));
                if age >= self.freshness.valid_for() {
                    tracing::warn!(
                        %read_at,
                        "the access tokens of the last run were read longer ago than --tokens-valid-for allows; \
                         requests that need a token are refused until the database answers"
                    );
                }
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the access tokens of the last run cannot be read; requests that need a token are refused until the database answers");
            }
            Some(Ok(None)) => tracing::warn!(
                "the access tokens are not known until the database answers; requests that need a token are refused"
            ),
            None => {}
        }
    }

    /// Follows the table of tokens, and writes changes to disk. During an outage of the database the last tokens stay
    /// valid for a time. Never returns.
    pub(crate) async fn follow(&self) {
        let keep = async {
            if let Some(kept) = &self.kept {
                kept.follow().await;
            }
        };
        tokio::join!(self.look(), keep);
    }

    async fn look(&self) {
        let mut is_away = false;
        loop {
            match self.refresh().await {
                Ok(()) if is_away => {
                    is_away = false;
                    tracing::info!("the access tokens can be read again");
                }
                Err(error) if !is_away => {
                    is_away = true;
                    tracing::warn!(
                        %error,
                        "the access tokens cannot be read; the last known ones stay valid for {}, and requests without \
                         a token are refused after {}, unless --allow-anonymous is set",
                        humantime::format_duration(self.freshness.valid_for()),
                        humantime::format_duration(ANONYMOUS_PATIENCE)
                    );
                }
                _ => {}
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether a token ever existed. `None` if the tokens were not read yet.
    pub(crate) fn ever(&self) -> Option<bool> {
        self.known.load().as_ref().map(|known| known.ever)
    }

    pub(super) fn known(&self) -> Guard<Option<Arc<Known>>> {
        self.known.load()
    }

    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }
}

impl Known {
    fn new(LiveAccessTokens { changes, tokens }: LiveAccessTokens, ever: bool) -> Self {
        let page_origins = tokens.iter().flat_map(|token| token.origins.iter().cloned()).collect();
        let known = |token: LiveAccessToken| KnownToken { owner: Owner::of_token(&token.id), token };
        let mut tokens: Vec<_> = tokens.into_iter().map(known).collect();
        tokens.sort_unstable_by(|one, other| one.token.id.cmp(&other.token.id));
        Self { changes, ever: ever || changes > 0, page_origins, tokens }
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
impl Known {
    pub(super) fn of(changes: i64, tokens: Vec<LiveAccessToken>) -> Self {
        Self::new(LiveAccessTokens { changes, tokens }, false)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use db::{LiveAccessToken, LiveAccessTokens};
    use model::access::{Credential, IssuedToken, Scope, Scopes};

    use super::Known;

    fn token(issued: &IssuedToken, expires_at: Option<i64>) -> LiveAccessToken {
        LiveAccessToken {
            id: issued.id.clone(),
            scopes: Scopes::from_iter([Scope::Write]),
            digest: issued.digest,
            origins: vec![],
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
        let known = Known::of(2, vec![token(&right, Some(1_000)), token(&public, None)]);
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
        assert!(!Known::new(nothing(), false).ever);
        assert!(Known::new(nothing(), true).ever);
        assert!(Known::new(LiveAccessTokens { changes: 3, tokens: vec![] }, false).ever);
    }
}
