use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use chrono::Utc;
use model::access::{Credential, Scope};
use warp::{
    http::{HeaderMap, HeaderValue, Request, Uri},
    reply::Response,
};

use super::{
    AccessConfig, Policy, Rate, Tokens,
    config::is_loopback,
    cors::{self, Cors},
    credentials::{Credentials, credentials},
    denial::{Denial, Limit, RateLimited, Refusal},
    local, origin,
    proxies::Proxies,
    rate_limit::{Owner, RateLimiter, Standing},
    tokens::{Known, KnownToken},
};
use crate::telemetry::metrics::Listener;

/// How often an address may show what lets nobody in: far more than somebody who mistypes, far less than would be worth a guess. Whoever shows a
/// valid token is let in all the same, so that nobody can lock out others who share their address.
const GUESSES: Rate = Rate::per_second(10, 60);

/// Decides for one listener who may come in. What it counts is of this process alone: other replicas have limits of their own.
pub(crate) struct Gate {
    listener: Listener,
    /// Whether whoever shows nothing may come in as long as there never was a token.
    is_open_at_first: bool,
    allow_anonymous: bool,
    tokens: Arc<Tokens>,
    cors: Cors,
    proxies: Proxies,
    per_token: Option<RateLimiter>,
    per_address: Option<RateLimiter>,
    guesses: RateLimiter,
    began: Instant,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    address: IpAddr,
    /// Its place in the limit for addresses, if there is one: it is looked up once for all requests of a connection.
    owner: Option<Owner>,
}

/// A request as the gate looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// When it came.
    pub(crate) at: Instant,
    pub(crate) policy: Policy,
    /// Whether it is a browser's question, which it asks before the request itself (the Fetch standard's CORS preflight).
    pub(crate) is_preflight: bool,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// What the gate knows of a request, whether it may come in or not.
pub(crate) struct Entry {
    /// The address it comes from.
    pub(crate) client: IpAddr,
    /// The ID of the token that a batch comes with.
    pub(crate) token: Option<Box<str>>,
    /// The ID of the public key that an event comes with.
    pub(crate) public_key: Option<Box<str>>,
    origin: Option<HeaderValue>,
    varies_by_origin: bool,
    /// How it stands with the limit that leaves it the least.
    standing: Option<(Limit, Standing)>,
}

impl Gate {
    /// The gate of a listener at an address.
    pub(crate) fn new(listener: Listener, listen: SocketAddr, config: &AccessConfig, tokens: Arc<Tokens>) -> Self {
        let is_public = listener == Listener::Public;
        Self {
            listener,
            is_open_at_first: is_loopback(listen.ip()),
            allow_anonymous: config.allow_anonymous,
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

    /// Whether nobody is let in at this moment, whatever they show, because the database has not said for long which tokens there are.
    pub(crate) fn is_closed(&self) -> bool {
        let (freshness, at) = (self.tokens.freshness(), Instant::now());
        !self.allow_anonymous
            && match self.tokens.known().as_ref() {
                Some(known) if known.ever || !self.is_open_at_first => !freshness.is_in_force(at),
                _ => !freshness.is_recent(at),
            }
    }

    /// What a connection's requests have in common.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        Peer { address, owner: self.per_address.as_ref().map(|limit| limit.owner_of(address)) }
    }

    /// Looks at a request before it reaches its route. Returns how it came in, and why it may not if it may not.
    pub(crate) fn enter(&self, peer: Peer, asked: Asked<'_>) -> (Entry, Result<(), Refusal>) {
        let known = self.tokens.known();
        let client = self.proxies.client(peer.address, asked.headers);
        let mut entry =
            Entry { client, token: None, public_key: None, origin: None, varies_by_origin: false, standing: None };
        let admitted = self.admit(known.as_deref(), peer, asked, &mut entry);
        (entry, admitted)
    }

    fn admit(&self, known: Option<&Known>, peer: Peer, asked: Asked<'_>, entry: &mut Entry) -> Result<(), Refusal> {
        let scope = asked.policy.scope();
        let page_origins = known.filter(|_| self.listener == Listener::Public).map(|known| &known.page_origins);
        if self.cors.is_in_use(page_origins) {
            entry.varies_by_origin = true;
            entry.origin = self.cors.allowed(asked.headers, scope, page_origins).cloned();
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

    /// An instant as the limits count it.
    fn moment(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn authorize(
        &self,
        scope: Scope,
        known: Option<&Known>,
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
        // What a token does not allow counts as well, or its holder could ask for that without end.
        if let Some(limiter) = &self.per_token {
            let owner = match holder {
                Holder::Secret(token) => token.owner,
                Holder::Public(key) => limiter.owner_of_public(&key.token.id, entry.client),
            };
            entry.count(Limit::PerToken, limiter.take(owner, self.moment(asked.at)))?;
        }
        // Whose request it is matters where it takes memory for a batch, or brings an idempotency key.
        match (holder, asked.policy) {
            (Holder::Secret(known), Policy::Token(Scope::Write)) => entry.token = Some(known.token.id.as_str().into()),
            (Holder::Public(key), Policy::TokenOrPublicKey(_)) => {
                entry.public_key = Some(key.token.id.as_str().into());
            }
            _ => {}
        }
        Ok(holder.may(scope, asked)?)
    }

    /// The token that a request shows; none if it needs none.
    fn identify<'a>(
        &self,
        known: Option<&'a Known>,
        Asked { at, uri, headers, .. }: Asked<'_>,
    ) -> Result<Option<Holder<'a>>, Denial> {
        let freshness = self.tokens.freshness();
        let mut key = String::new();
        let shown = match credentials(headers, uri.query(), &mut key).map_err(Denial::Unreadable)? {
            Credentials::None if self.allow_anonymous => return Ok(None),
            Credentials::None => {
                let known = known.ok_or(Denial::NotKnownYet)?;
                if !self.is_open_at_first || known.ever {
                    return Err(Denial::Missing(self.listener));
                }
                local::check(uri, headers, &self.cors)?;
                // There may be a first token by now.
                return if freshness.is_recent(at) { Ok(None) } else { Err(Denial::NotKnownNow) };
            }
            Credentials::SecretInUrl => return Err(Denial::SecretInUrl),
            Credentials::Several => return Err(Denial::Several),
            Credentials::Other => return Err(Denial::Invalid),
            Credentials::One(shown) => shown,
        };
        let token = known.ok_or(Denial::NotKnownYet)?.find(shown, Utc::now).ok_or(Denial::Invalid)?;
        if !freshness.is_in_force(at) {
            return Err(Denial::KnownTooLongAgo(freshness.valid_for()));
        }
        Ok(Some(match shown {
            Credential::Secret { .. } => Holder::Secret(token),
            Credential::Public { .. } => Holder::Public(token),
        }))
    }

    /// For a request to the stream, which was let in and is answered for as long as it listens.
    pub(crate) fn watch<B>(self: &Arc<Self>, request: &Request<B>) -> StillAllowed {
        let mut head = Request::new(());
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        StillAllowed { gate: Arc::clone(self), head: Arc::new(head) }
    }
}

/// What a request showed.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Secret(&'a KnownToken),
    Public(&'a KnownToken),
}

impl Holder<'_> {
    /// Whether its holder may do what it asks for.
    fn may(self, scope: Scope, Asked { policy, headers, .. }: Asked<'_>) -> Result<(), Denial> {
        let (Self::Secret(known) | Self::Public(known)) = self;
        if !known.token.scopes.allow(scope) {
            return Err(Denial::Scope(scope));
        }
        let Self::Public(key) = self else { return Ok(()) };
        let page = origin::origin(headers).ok().flatten();
        if !page.is_some_and(|page| key.token.origins.iter().any(|allowed| allowed == page)) {
            return Err(Denial::Origin);
        }
        // Its origin can be made up, and a batch takes a share of what all have together.
        if !matches!(policy, Policy::TokenOrPublicKey(_)) {
            return Err(Denial::PublicBatch);
        }
        Ok(())
    }
}

/// Says of a listener whether it would be let in now: its token may have been revoked, or have expired, since it was.
#[derive(Clone)]
pub(crate) struct StillAllowed {
    gate: Arc<Gate>,
    head: Arc<Request<()>>,
}

impl StillAllowed {
    pub(crate) fn get(&self) -> bool {
        let known = self.gate.tokens.known();
        let policy = Policy::Token(Scope::Read);
        let (uri, headers) = (self.head.uri(), self.head.headers());
        let asked = Asked { at: Instant::now(), policy, is_preflight: false, uri, headers };
        let holder = self.gate.identify(known.as_deref(), asked);
        holder.and_then(|holder| holder.map_or(Ok(()), |holder| holder.may(Scope::Read, asked))).is_ok()
    }
}

impl Entry {
    /// Remembers the limit that leaves the least. An error if this one leaves nothing.
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

    /// Says on the answer, whatever it is, what the gate has to say.
    pub(crate) fn mark(&self, gate: &Gate, response: &mut Response) {
        if self.varies_by_origin {
            cors::mark(self.origin.as_ref(), response.headers_mut());
        }
        if let Some((limit, standing)) = self.standing {
            let limiter = match limit {
                Limit::PerToken => gate.per_token.as_ref(),
                Limit::PerAddress => gate.per_address.as_ref(),
                Limit::Guesses => Some(&gate.guesses),
            };
            if let Some(limiter) = limiter {
                limiter.say(standing, response.headers_mut());
            }
        }
    }
}
