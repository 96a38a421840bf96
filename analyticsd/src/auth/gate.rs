use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use chrono::Utc;
use model::access::{Credential, Scope};
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, Request, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
    },
    reply::Response,
};

use super::{
    AccessConfig, Rate, Tokens,
    config::is_loopback,
    cors::{self, Cors},
    credentials::{Shown, shown},
    denial::{self, Denial},
    local, origin,
    policy::{self, Needed},
    proxies::Proxies,
    rate_limit::{Buckets, Owner, Standing},
    tokens::{Known, KnownToken},
};
use crate::http::{reply, route::Route};

/// How often an address may show what lets nobody in: far more than somebody who mistypes, far less than would be worth a guess. Whoever shows a
/// valid token is let in all the same, so that nobody can lock out others who share their address.
const GUESSES: Rate = Rate::per_second(10, 60);

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Events, counts and the page.
    Public,
    /// What the daemon counts about itself.
    Admin,
}

/// Decides for one listener who may come in. What it counts is of this process alone: other replicas have limits of their own.
pub(crate) struct Gate {
    service: Service,
    /// Whether whoever shows nothing may come in as long as there never was a token.
    is_open_at_first: bool,
    allow_anonymous: bool,
    tokens: Arc<Tokens>,
    cors: Cors,
    proxies: Proxies,
    per_token: Option<Buckets>,
    per_address: Option<Buckets>,
    guesses: Buckets,
    began: Instant,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    address: IpAddr,
    /// Of the place in the limit for addresses, if there is one: it is looked up once for all requests of a connection.
    owner: Option<Owner>,
}

/// A request as the gate looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// When it came.
    pub(crate) at: Instant,
    pub(crate) route: Route,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> Asked<'a> {
    pub(crate) fn new<B>(at: Instant, route: Route, request: &'a Request<B>) -> Self {
        Self { at, route, method: request.method(), uri: request.uri(), headers: request.headers() }
    }
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

#[derive(Debug, Clone, Copy)]
enum Limit {
    PerToken,
    PerAddress,
    Guesses,
}

impl Gate {
    /// The gate of a listener at an address.
    pub(crate) fn new(service: Service, listen: SocketAddr, config: &AccessConfig, tokens: Arc<Tokens>) -> Self {
        let is_public = service == Service::Public;
        Self {
            service,
            is_open_at_first: is_loopback(listen.ip()),
            allow_anonymous: config.allow_anonymous,
            tokens,
            cors: if is_public { Cors::new(&config.cors_origins) } else { Cors::default() },
            proxies: Proxies { trusted: config.trusted_proxies.clone(), header: config.forwarded_header },
            per_token: config.rate_per_token.filter(|_| is_public).map(Buckets::new),
            per_address: config.rate_per_address.filter(|_| is_public).map(Buckets::new),
            guesses: Buckets::new(GUESSES),
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

    /// Looks at a request before it reaches its route. Says how it came in, and the answer if it may not, or if there is nothing behind the gate for
    /// it.
    pub(crate) fn enter(&self, peer: Peer, asked: Asked<'_>) -> (Entry, Option<Response>) {
        let known = self.tokens.known();
        let known = known.as_deref();
        let client = self.proxies.client(peer.address, asked.headers);
        let mut entry =
            Entry { client, token: None, public_key: None, origin: None, varies_by_origin: false, standing: None };
        let refusal = self.refusal(known, peer, asked, &mut entry);
        (entry, refusal)
    }

    fn refusal(&self, known: Option<&Known>, peer: Peer, asked: Asked<'_>, entry: &mut Entry) -> Option<Response> {
        let asked_for = preflight_method(asked);
        let needed = self.needed(asked.route, asked_for.as_ref().unwrap_or(asked.method));
        let scope = match needed {
            Needed::Scope(scope) => Some(scope),
            _ => None,
        };

        let page_origins = known.filter(|_| self.service == Service::Public).map(|known| &known.page_origins);
        if self.cors.is_in_use(page_origins) {
            entry.varies_by_origin = true;
            entry.origin = self.cors.allowed(asked.headers, scope, page_origins).cloned();
        }

        if needed != Needed::NothingEver
            && let Some(limit) = &self.per_address
        {
            let owner = peer.owner.filter(|_| entry.client == peer.address);
            let owner = owner.unwrap_or_else(|| limit.owner_of(entry.client));
            let standing = limit.take(owner, self.moment(asked.at));
            entry.stands(Limit::PerAddress, standing);
            if !standing.is_allowed {
                return Some(denial::too_many("More requests come from this address", standing));
            }
        }
        if asked_for.is_some() && matches!(needed, Needed::Scope(_) | Needed::Nothing | Needed::NothingEver) {
            return Some(if entry.origin.is_some() { cors::preflight() } else { Denial::Preflight.answer() });
        }
        match needed {
            Needed::Nothing | Needed::NothingEver => None,
            // A path has this method or not, whoever asks.
            Needed::OtherMethod(allow) => Some(reply::method_not_allowed(allow)),
            Needed::OtherPath => Some(match self.service {
                Service::Public => reply::not_found(asked.uri.path()),
                Service::Admin => reply::not_found_by_admin(asked.uri.path()),
            }),
            Needed::Scope(scope) => self.refusal_for(scope, known, asked, entry),
        }
    }

    /// An instant as the limits count it.
    fn moment(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn needed(&self, route: Route, method: &Method) -> Needed {
        match self.service {
            Service::Public => policy::by_public(route, method),
            Service::Admin => policy::by_admin(route, method),
        }
    }

    fn refusal_for(
        &self,
        scope: Scope,
        known: Option<&Known>,
        asked: Asked<'_>,
        entry: &mut Entry,
    ) -> Option<Response> {
        let holder = match self.identify(known, asked) {
            Ok(holder) => holder?,
            Err(denial) if denial.is_a_guess() => {
                let standing = self.guesses.take(self.guesses.owner_of(entry.client), self.moment(asked.at));
                if standing.is_allowed {
                    return Some(denial.answer());
                }
                entry.standing = Some((Limit::Guesses, standing));
                return Some(denial::too_many("More requests without a valid token come from this address", standing));
            }
            Err(denial) => return Some(denial.answer()),
        };
        // What a token does not allow counts as well, or its holder could ask for that without end.
        if let Some(limit) = &self.per_token {
            let owner = match holder {
                Holder::Secret(token) => token.owner,
                Holder::Public(key) => limit.owner_of_public(&key.token.id, entry.client),
            };
            let standing = limit.take(owner, self.moment(asked.at));
            entry.stands(Limit::PerToken, standing);
            if !standing.is_allowed {
                return Some(denial::too_many("More requests come with this token", standing));
            }
        }
        if let Holder::Secret(known) = holder
            && asked.route == Route::Batch
        {
            entry.token = Some(known.token.id.as_str().into());
        }
        if let Holder::Public(key) = holder
            && asked.route == Route::Analytics
        {
            entry.public_key = Some(key.token.id.as_str().into());
        }
        holder.may(scope, asked).err().map(|denial| denial.answer())
    }

    /// The token that a request shows; none if it needs none.
    fn identify<'a>(
        &self,
        known: Option<&'a Known>,
        Asked { at, uri, headers, .. }: Asked<'_>,
    ) -> Result<Option<Holder<'a>>, Denial> {
        let freshness = self.tokens.freshness();
        let mut key = String::new();
        let shown = shown(headers, uri.query(), &mut key).map_err(Denial::Unreadable)?;
        let shown = match shown {
            Shown::Nothing if self.allow_anonymous => return Ok(None),
            Shown::Nothing => {
                let known = known.ok_or(Denial::NotKnownYet)?;
                if !self.is_open_at_first || known.ever {
                    return Err(Denial::Missing(self.service));
                }
                local::check(uri, headers, &self.cors)?;
                // There may be a first token by now.
                return if freshness.is_recent(at) { Ok(None) } else { Err(Denial::NotKnownNow) };
            }
            Shown::SecretInUrl => return Err(Denial::SecretInUrl),
            Shown::Several => return Err(Denial::Several),
            Shown::Other => return Err(Denial::Invalid),
            Shown::One(shown) => shown,
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
    fn may(self, scope: Scope, Asked { route, headers, .. }: Asked<'_>) -> Result<(), Denial> {
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
        if route == Route::Batch {
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
        let asked = Asked::new(Instant::now(), Route::Stream, &self.head);
        let holder = self.gate.identify(known.as_deref(), asked);
        holder.and_then(|holder| holder.map_or(Ok(()), |holder| holder.may(Scope::Read, asked))).is_ok()
    }
}

/// The method that a browser wants to use, if it asks whether it may.
fn preflight_method(Asked { method, headers, .. }: Asked<'_>) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Entry {
    fn stands(&mut self, limit: Limit, standing: Standing) {
        if self.standing.is_none_or(|(_, before)| !standing.is_allowed || standing.remaining < before.remaining) {
            self.standing = Some((limit, standing));
        }
    }

    /// Says on the answer, whatever it is, what the gate has to say.
    pub(crate) fn mark(&self, gate: &Gate, response: &mut Response) {
        if self.varies_by_origin {
            cors::mark(self.origin.as_ref(), response.headers_mut());
        }
        if let Some((limit, standing)) = self.standing {
            let buckets = match limit {
                Limit::PerToken => gate.per_token.as_ref(),
                Limit::PerAddress => gate.per_address.as_ref(),
                Limit::Guesses => Some(&gate.guesses),
            };
            if let Some(buckets) = buckets {
                buckets.say(standing, response.headers_mut());
            }
        }
    }
}
