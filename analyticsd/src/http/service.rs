//! The steps of every request before its handler, and of every answer after it.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::Body;
use pin_project_lite::pin_project;
use tracing::Span;
use warp::{
    Reply,
    http::{
        HeaderValue, Method, Request, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, ORIGIN},
    },
    reply::Response,
};

use super::{
    body_coding::BodyCoding,
    error::{self, ApiError, HangUp, NoAnswer},
    extract::Client,
    framing,
    observer::{Observed, Observer},
    query_string::KeySource,
    router::{Router, Target},
    routes::Passes,
    watched_body::{ReadToEnd, WatchedBody},
};
use crate::{
    auth::{self, Asked, Entry, Gate, Peer},
    ingest::limits::body_budget::Holder,
    telemetry::metrics::{Listener, Metrics, OfListener},
};

/// The HTTP service of one listener.
pub(crate) struct HttpService {
    gate: Arc<Gate>,
    router: Router,
    observer: Arc<Observer>,
}

impl HttpService {
    /// The service admits what the gate admits, and counts requests in `metrics`.
    pub(crate) fn new(gate: Arc<Gate>, router: Router, metrics: Arc<Metrics>) -> Self {
        let observer = Arc::new(Observer::new(metrics, router.listener()));
        Self { gate, router, observer }
    }

    /// The metrics of the listener's connections.
    pub(crate) fn connections(&self) -> &OfListener {
        self.observer.connections()
    }

    /// Whether an address is that of a trusted proxy, which forwards requests of many clients.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.gate.is_proxy(address)
    }

    /// What all requests of a connection share.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        self.gate.peer(address)
    }

    /// Answers a request.
    pub(crate) fn answer<B>(
        &self,
        peer: Peer,
        request: Request<B>,
    ) -> Answering<impl Future<Output = Result<Response, Infallible>> + use<B>>
    where
        B: Body + Unpin + Send + Sync + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut request = request.map(WatchedBody::new);
        let read = request.body().read_to_end();
        // `CONNECT host:port` has no path, but warp expects one. No route accepts that method.
        if request.uri().path().is_empty() {
            *request.uri_mut() = Uri::from_static("/");
        }
        let preflight = preflight_method(&request);
        let target = self.router.find(request.uri().path(), preflight.as_ref().unwrap_or(request.method()));
        let observed = Arc::clone(&self.observer).begin(target, &request);
        let span = observed.span();
        let in_span = span.enter();
        let is_preflight = preflight.is_some() && target.endpoint.is_some();
        let (uri, headers) = (request.uri(), request.headers());
        let asked = Asked { at: observed.began, policy: target.policy(), is_preflight, uri, headers };
        let (mut entry, admitted) = self.gate.enter(peer, asked);
        observed.came_from(entry.client);
        let wants_page = self.router.listener() == Listener::Public && error::page::is_wanted(&request);
        let passes = match admitted {
            Ok(()) if is_preflight => Ok(None),
            Ok(()) => self.passes(target, &request).map(Some),
            Err(refusal) => Err(refusal.into()),
        };
        let answer = match passes {
            Err(error) => Answer::Known { answer: Some(ApiError::into_response(error)) },
            Ok(None) => Answer::Known { answer: Some(auth::preflight()) },
            Ok(Some(passes)) => {
                self.equip(&mut request, passes, &mut entry);
                Answer::Asked { inside: self.router.call(target, request) }
            }
        };
        drop(in_span);
        let gate = Arc::clone(&self.gate);
        Answering { answer, span, entry, gate, read, wants_page, observed: Some(observed) }
    }

    /// What is passed to the handler, if the request has one and passes the checks.
    fn passes(&self, target: Target, request: &Request<impl Body>) -> Result<Passes, ApiError> {
        let endpoint = target.endpoint.ok_or_else(|| target.missing(self.router.listener(), request.uri().path()))?;
        framing::check(endpoint.passes, request)?;
        Ok(endpoint.passes)
    }

    fn equip<B>(&self, request: &mut Request<B>, passes: Passes, entry: &mut Entry) {
        if passes == Passes::Batch {
            let coding = BodyCoding::of(request.headers()).unwrap_or(BodyCoding::Identity);
            request.extensions_mut().insert(coding);
            request.extensions_mut().insert(Holder::new(entry.token.take(), entry.client));
        }
        if let Some(sites) = entry.sites.take() {
            request.extensions_mut().insert(sites);
        }
        match passes {
            Passes::Nothing => {}
            Passes::Key | Passes::Batch | Passes::ClientAndKey => {
                if passes == Passes::ClientAndKey {
                    request.extensions_mut().insert(Client(entry.client));
                }
                if let Some(source) = KeySource::of(request.headers(), entry.public_key.take()) {
                    request.extensions_mut().insert(source);
                }
            }
            Passes::StillAllowed => {
                let still_allowed = self.gate.watch(request);
                request.extensions_mut().insert(still_allowed);
            }
        }
    }
}

/// The method that a browser asks for permission to use (the Fetch standard's CORS preflight).
fn preflight_method<B>(request: &Request<B>) -> Option<Method> {
    if *request.method() != Method::OPTIONS || !request.headers().contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

pin_project! {
    /// The future of an answer. It is written by hand, because the compiler stores the arguments of an async function
    /// beside the values made from them. As three nested async functions it took three kilobytes, copied several times
    /// for each request.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: Answer<F>,
        span: Span,
        entry: Entry,
        gate: Arc<Gate>,
        read: ReadToEnd,
        // Whether a problem becomes a page.
        wants_page: bool,
        // `None` once the answer is made. If it is dropped before, the request counts as abandoned.
        observed: Option<Observed>,
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        // The handler makes the answer.
        Asked { #[pin] inside: F },
        // The answer is known without a handler.
        Known { answer: Option<Response> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let in_span = this.span.enter();
        let mut response = match this.answer.project() {
            AnswerProjection::Asked { inside } => {
                let Ok(response) = ready!(inside.poll(context));
                response
            }
            AnswerProjection::Known { answer } => answer.take().expect("an answer is asked for once"),
        };
        if *this.wants_page {
            error::page::replace_problem(&mut response);
        }
        drop(in_span);
        let answer = this.entry.let_out(this.gate, this.read, response);
        let observed = this.observed.take().expect("an answer is asked for once");
        Poll::Ready(observed.end(answer))
    }
}

impl Entry {
    /// Completes the answer. One that is marked [`HangUp`] closes the connection instead. If the body was not read to
    /// its end, the answer has `Connection: close`.
    fn let_out(&self, gate: &Gate, read: &ReadToEnd, mut response: Response) -> Result<Response, NoAnswer> {
        self.mark(gate, &mut response);
        if response.extensions().get::<HangUp>().is_some() {
            return Err(NoAnswer);
        }
        if !read.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
