use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use chrono::Utc;
use model::{
    SiteId,
    access::{Credential, Scope},
};
use warp::{
    http::{HeaderMap, HeaderValue, Request, Uri, header::ORIGIN},
    reply::Response,
};

use super::{
    AccessConfig, Policy, Rate,
    access_tables::AccessTables,
    config::is_loopback,
    cors::{self, Cors},
    credentials::{Credentials, credentials, key_in_url},
    denial::{Denial, Limit, RateLimited, Refusal},
    known_sites::SiteAccess,
    known_tokens::{KnownToken, KnownTokens},
    local, origin,
    proxies::Proxies,
    rate_limit::{Owner, RateLimiter, Standing},
};
use crate::telemetry::metrics::Listener;

/// How often an address may send invalid credentials: more often than typing errors need, too seldom for guessing.
/// Requests with a valid token are not affected, so that no client can lock out others at the same address.
const GUESSES: Rate = Rate::per_second(10, 60);

/// Admits or refuses the requests of one listener. It counts the requests of this process only: other replicas have
/// limits of their own.
pub(crate) struct Gate {
    listener: Listener,
    /// Whether requests without a token are accepted as long as no token ever existed.
    is_open_at_first: bool,
    config: AccessConfig,
    tokens: Arc<AccessTables>,
    cors: Cors,
    proxies: Proxies,
    per_token: Option<RateLimiter>,
    per_address: Option<RateLimiter>,
    guesses: RateLimiter,
    began: Instant,
}

/// The peer of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    address: IpAddr,
    /// Its key in the rate limiter for addresses, if there is one, computed once for all requests of the connection.
    owner: Option<Owner>,
}

/// The parts of a request that the gate checks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// When it arrived.
    pub(crate) at: Instant,
    pub(crate) policy: Policy,
    /// Whether it is a preflight of the Fetch standard's CORS protocol.
    pub(crate) is_preflight: bool,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// The gate's findings about a request, admitted or refused.
pub(crate) struct Entry {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The id of a batch's token.
    pub(crate) token: Option<Box<str>>,
    /// The id of an event's public key.
    pub(crate) public_key: Option<Box<str>>,
    /// The sites that the request may use; `None` if it may use all.
    pub(crate) sites: Option<SiteAccess>,
    origin: Option<HeaderValue>,
    varies_by_origin: bool,
    /// The state of the limit that leaves the fewest requests.
    standing: Option<(Limit, Standing)>,
}

impl Gate {
    /// The gate of a listener at an address.
    pub(crate) fn new(
        listener: Listener,
        listen: SocketAddr,
        config: &AccessConfig,
        tokens: Arc<AccessTables>,
    ) -> Self {
        let is_public = listener == Listener::Public;
        Self {
            listener,
            is_open_at_first: is_loopback(listen.ip()),
            config: config.clone(),
            tokens,
            cors: if is_public { Cors::new(&config.cors_origins) } else { Cors::default() },
            proxies: Proxies { trusted: config.trusted_proxies.clone(), header: config.forwarded_header },
            per_token: config.rate_per_token.filter(|_| is_public).map(RateLimiter::new),
            per_address: config.rate_per_address.filter(|_| is_public).map(RateLimiter::new),
            guesses: RateLimiter::new(GUESSES),
            began: Instant::now(),
        }
    }

    /// Whether an address is that of a trusted proxy.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.is_trusted(address)
    }

    /// Whether every request that needs a token is refused now, because the tokens were last read too long ago.
    pub(crate) fn is_closed(&self) -> bool {
        let (freshness, at) = (self.tokens.freshness(), Instant::now());
        !self.config.allow_anonymous
            && match self.tokens.known().as_ref() {
                Some(known) if known.ever || !self.is_open_at_first => !freshness.is_in_force(at),
                _ => !freshness.is_recent(at),
            }
    }

    /// What all requests of a connection share.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        Peer { address, owner: self.per_address.as_ref().map(|limit| limit.owner_of(address)) }
    }

    /// Checks a request before it reaches its route. Returns the findings, and the reason if it is refused.
    pub(crate) fn enter(&self, peer: Peer, asked: Asked<'_>) -> (Entry, Result<(), Refusal>) {
        let known = self.tokens.known();
        let client = self.proxies.client(peer.address, asked.headers);
        let mut entry = Entry {
            client,
            token: None,
            public_key: None,
            sites: None,
            origin: None,
            varies_by_origin: false,
            standing: None,
        };
        let admitted = self.admit(known.as_deref(), peer, asked, &mut entry);
        (entry, admitted)
    }

    fn admit(
        &self,
        known: Option<&KnownTokens>,
        peer: Peer,
        asked: Asked<'_>,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        let scope = asked.policy.scope();
        let with_keys = known.filter(|known| self.listener == Listener::Public && known.ever);
        if self.cors.is_in_use() || with_keys.is_some() {
            entry.varies_by_origin = true;
            let of_the_key = |origin: &str| {
                let key = key_in_url(asked.uri.query());
                let key = key.as_deref().and_then(Credential::parse);
                let key = with_keys.zip(key).and_then(|(known, key)| known.find(key, Utc::now));
                key.is_some_and(|key| key.is_for_pages_of(origin))
            };
            entry.origin = self.cors.allowed(asked.headers, scope, of_the_key).cloned();
        }
        if entry.origin.is_none() && !asked.is_preflight && self.is_open_event(known, asked) {
            entry.varies_by_origin = true;
            entry.origin = asked.headers.get(ORIGIN).cloned();
        }
        if asked.policy != Policy::Unlimited
            && let Some(limiter) = &self.per_address
        {
            let owner = peer.owner.filter(|_| entry.client == peer.address);
            let owner = owner.unwrap_or_else(|| limiter.owner_of(entry.client));
            entry.count(Limit::PerAddress, limiter.take(owner, self.moment(asked.at)))?;
        }
        if asked.is_preflight {
            return if entry.origin.is_some() { Ok(()) } else { Err(Denial::Preflight.into()) };
        }
        match scope {
            Some(scope) => self.authorize(scope, known, asked, entry),
            None => Ok(()),
        }
    }

    /// Whether this is an event from a page that may send it without credentials. The answer says only what became of
    /// the event, and the page has to know that, to send the event again after a 429 or 503.
    fn is_open_event(&self, known: Option<&KnownTokens>, Asked { policy, uri, headers, .. }: Asked<'_>) -> bool {
        matches!(policy, Policy::TokenOrPublicKey(_))
            && headers.contains_key(ORIGIN)
            && matches!(credentials(headers, uri.query(), &mut String::new()), Ok(Credentials::None))
            && (self.config.allow_anonymous
                || (self.is_open_at_first
                    && known.is_some_and(|known| !known.ever)
                    && local::check(uri, headers, &self.cors).is_ok()))
    }

    /// An instant in the rate limiters' nanoseconds.
    fn moment(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn authorize(
        &self,
        scope: Scope,
        known: Option<&KnownTokens>,
        asked: Asked<'_>,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        let holder = match self.identify(known, asked) {
            Ok(Some(holder)) => holder,
            Ok(None) => return Ok(()),
            Err(denial) => {
                if denial.is_a_guess() {
                    let standing = self.guesses.take(self.guesses.owner_of(entry.client), self.moment(asked.at));
                    if !standing.is_allowed {
                        entry.count(Limit::Guesses, standing)?;
                    }
                }
                return Err(denial.into());
            }
        };
        // A request beyond the token's scope counts as well; otherwise it would have no limit.
        if let Some(limiter) = &self.per_token {
            let owner = match holder {
                Holder::Secret(token) => token.owner,
                Holder::Public(key) => limiter.owner_of_public(&key.token.id, entry.client),
            };
            entry.count(Limit::PerToken, limiter.take(owner, self.moment(asked.at)))?;
        }
        // The id is needed for the body budget of a batch, and for idempotency keys of public keys.
        match (holder, asked.policy) {
            (Holder::Secret(known), Policy::Token(Scope::Write)) => entry.token = Some(known.token.id.as_str().into()),
            (Holder::Public(key), Policy::TokenOrPublicKey(_)) => {
                entry.public_key = Some(key.token.id.as_str().into());
            }
            _ => {}
        }
        entry.sites = match holder {
            Holder::Secret(known) if known.sites == SiteAccess::All => {
                (self.config.new_sites > 0 && scope == Scope::Write).then_some(SiteAccess::AllAndNew)
            }
            Holder::Secret(known) | Holder::Public(known) => Some(known.sites.clone()),
        };
        Ok(holder.may(scope, asked)?)
    }

    /// The token of a request; `None` if it needs none.
    fn identify<'a>(
        &self,
        known: Option<&'a KnownTokens>,
        Asked { at, policy, uri, headers, .. }: Asked<'_>,
    ) -> Result<Option<Holder<'a>>, Denial> {
        let freshness = self.tokens.freshness();
        let mut key = String::new();
        let credential = match credentials(headers, uri.query(), &mut key).map_err(Denial::Unreadable)? {
            Credentials::None if self.config.allow_anonymous => return Ok(None),
            Credentials::None => {
                let known = known.ok_or(Denial::NotKnownYet)?;
                if !self.is_open_at_first || known.ever {
                    return Err(Denial::Missing(policy));
                }
                local::check(uri, headers, &self.cors)?;
                // A first token may exist by now.
                return if freshness.is_recent(at) { Ok(None) } else { Err(Denial::NotKnownNow) };
            }
            Credentials::SecretInUrl => return Err(Denial::SecretInUrl),
            Credentials::Several => return Err(Denial::Several),
            Credentials::Other => return Err(Denial::Invalid),
            Credentials::One(credential) => credential,
        };
        let token = known.ok_or(Denial::NotKnownYet)?.find(credential, Utc::now).ok_or(Denial::Invalid)?;
        if token.token.is_share && !self.config.share_links {
            return Err(Denial::ShareLinksOff);
        }
        if !freshness.is_in_force(at) {
            return Err(Denial::KnownTooLongAgo(freshness.valid_for()));
        }
        Ok(Some(match credential {
            Credential::Secret { .. } => Holder::Secret(token),
            Credential::Public { .. } => Holder::Public(token),
        }))
    }

    /// A check for an admitted request to the stream, to repeat as long as the stream lasts.
    pub(crate) fn watch<B>(self: &Arc<Self>, request: &Request<B>) -> StillAllowed {
        let mut head = Request::new(());
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        StillAllowed { gate: Arc::clone(self), head: Arc::new(head) }
    }
}

/// The token of a request.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Secret(&'a KnownToken),
    Public(&'a KnownToken),
}

impl<'a> Holder<'a> {
    fn token(self) -> &'a KnownToken {
        let (Self::Secret(known) | Self::Public(known)) = self;
        known
    }

    /// Whether the token allows the request.
    fn may(self, scope: Scope, Asked { policy, headers, .. }: Asked<'_>) -> Result<(), Denial> {
        if !self.token().token.scopes.allow(scope) {
            return Err(Denial::Scope(scope));
        }
        let Self::Public(key) = self else { return Ok(()) };
        let page = origin::origin(headers).ok().flatten();
        if !page.is_some_and(|page| key.is_for_pages_of(page)) {
            return Err(Denial::Origin);
        }
        // An origin can be forged, and a batch takes memory that all clients share.
        if !matches!(policy, Policy::TokenOrPublicKey(_)) {
            return Err(Denial::PublicBatch);
        }
        Ok(())
    }
}

/// Checks whether a request would still be admitted: its token may have been revoked, or have expired.
#[derive(Clone)]
pub(crate) struct StillAllowed {
    gate: Arc<Gate>,
    head: Arc<Request<()>>,
}

impl StillAllowed {
    /// Whether it may still read a site.
    pub(crate) fn to_read(&self, site: SiteId) -> bool {
        let known = self.gate.tokens.known();
        let policy = Policy::Token(Scope::Read);
        let (uri, headers) = (self.head.uri(), self.head.headers());
        let asked = Asked { at: Instant::now(), policy, is_preflight: false, uri, headers };
        match self.gate.identify(known.as_deref(), asked) {
            Ok(Some(holder)) => holder.may(Scope::Read, asked).is_ok() && holder.token().sites.allows(site),
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

impl Entry {
    /// Remembers the limit that leaves the fewest requests. Returns an error if this one is exceeded.
    fn count(&mut self, limit: Limit, standing: Standing) -> Result<(), Refusal> {
        if self.standing.is_none_or(|(_, before)| !standing.is_allowed || standing.remaining < before.remaining) {
            self.standing = Some((limit, standing));
        }
        if standing.is_allowed {
            Ok(())
        } else {
            Err(Refusal::RateLimited(RateLimited { limit, retry_after: standing.retry_after }))
        }
    }

    /// Adds the gate's headers to the answer, also if the gate refused the request.
    pub(crate) fn mark(&self, gate: &Gate, response: &mut Response) {
        if self.varies_by_origin {
            cors::mark(self.origin.as_ref(), response.headers_mut());
        }
        if let Some((limit, standing)) = self.standing {
            let limiter = match limit {
                Limit::PerToken => gate.per_token.as_ref(),
                Limit::PerAddress => gate.per_address.as_ref(),
                Limit::Guesses => Some(&gate.guesses),
                // The gate does not know the site.
                Limit::PerSite => None,
            };
            if let Some(limiter) = limiter {
                limiter.add_headers(standing, response.headers_mut());
            }
        }
    }
}
