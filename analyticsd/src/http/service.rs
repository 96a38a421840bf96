//! The way in and out: what every request passes before the routes see it, and every answer on its way back.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::Body;
use pin_project_lite::pin_project;
use thiserror::Error;
use tower_service::Service;
use tracing::Span;
use warp::{
    http::{HeaderValue, Method, Request, Uri, header::CONNECTION},
    reply::Response,
};

use crate::{
    auth::{Asked, Entry, Gate, Peer},
    http::{
        framing,
        observer::{Observed, Observer},
        query_string::KeySource,
        reply::HangUp,
        route::Route,
        watched_body::{ReadToEnd, WatchedBody},
    },
    ingest::limits::body_budget::Holder,
    telemetry::metrics::{Listener, Metrics, OfListener},
};

/// Who asks: the address at the other end of the connection or, if that is a trusted proxy, the one that it asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The answer that must not be sent: see [`HangUp`].
#[derive(Debug, Error)]
#[error("what became of the request is not known, so the connection is closed without an answer")]
pub(crate) struct NoAnswer;

/// What every request and every answer of a listener passes, whatever its path.
pub(crate) struct Front {
    gate: Arc<Gate>,
    observer: Arc<Observer>,
}

impl Front {
    /// The front of a listener, which lets in whom the gate lets in, and counts in `metrics` what passes.
    pub(crate) fn new(gate: Arc<Gate>, metrics: Arc<Metrics>, listener: Listener) -> Self {
        Self { gate, observer: Arc::new(Observer::new(metrics, listener)) }
    }

    /// Where the connections of the listener are counted.
    pub(crate) fn connections(&self) -> &OfListener {
        self.observer.connections()
    }

    /// Whether an address is that of a proxy, which speaks for many.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.gate.is_proxy(address)
    }

    /// What the requests of a connection have in common.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        self.gate.peer(address)
    }

    /// Lets the routes `inside` answer a request, if it may come in, under the eyes of the observer, who sees what is refused on the way too. The
    /// routes are told who asks.
    pub(crate) fn answer<S, B>(&self, mut inside: S, peer: Peer, request: Request<B>) -> Answering<S::Future>
    where
        S: Service<Request<WatchedBody<B>>, Response = Response, Error = Infallible>,
        B: Body + Unpin,
    {
        let mut request = request.map(WatchedBody::new);
        let read = request.body().read_to_end();
        // `CONNECT host:port` names no path, which warp takes for granted that every request does. Nothing takes that method at this one.
        if request.uri().path().is_empty() {
            *request.uri_mut() = Uri::from_static("/");
        }
        let route = Route::of(request.uri().path());
        let observed = Arc::clone(&self.observer).begin(route, &request);
        let span = observed.span();
        let in_span = span.enter();
        let (mut entry, refusal) = self.gate.enter(peer, Asked::new(observed.began, route, &request));
        observed.came_from(entry.client);
        let refusal = refusal.or_else(|| framing::refusal(route, &request));
        let answer = if refusal.is_some() {
            Answer::Known { answer: refusal }
        } else {
            self.equip(&mut request, route, &mut entry);
            Answer::Asked { inside: inside.call(request) }
        };
        drop(in_span);
        Answering { answer, span, entry, gate: Arc::clone(&self.gate), read, observed: Some(observed) }
    }

    /// Gives a request along what only its own route asks for, since whatever is given takes three allocations.
    fn equip<B>(&self, request: &mut Request<B>, route: Route, entry: &mut Entry) {
        if route == Route::Batch {
            request.extensions_mut().insert(Holder::new(entry.token.take(), entry.client));
        }
        match route {
            Route::Analytics | Route::Batch if *request.method() == Method::POST => {
                if let Some(source) = KeySource::of(request.headers(), entry.public_key.take()) {
                    request.extensions_mut().insert(source);
                }
            }
            Route::Pixel => {
                request.extensions_mut().insert(Client(entry.client));
            }
            Route::Stream => {
                let still_allowed = self.gate.watch(request);
                request.extensions_mut().insert(still_allowed);
            }
            _ => {}
        }
    }
}

pin_project! {
    /// An answer that is on its way. It is written by hand because the compiler keeps what an async function was given beside what it makes of it: as three
    /// of those, one in another, this took three kilobytes, which were copied several times for each request.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: Answer<F>,
        span: Span,
        entry: Entry,
        gate: Arc<Gate>,
        read: ReadToEnd,
        // None once the answer is there. If it is dropped before, the request counts as abandoned.
        observed: Option<Observed>,
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        // The routes make it.
        Asked { #[pin] inside: F },
        // There is no need to ask them.
        Known { answer: Option<Response> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let in_span = this.span.enter();
        let response = match this.answer.project() {
            AnswerProjection::Asked { inside } => {
                let Ok(response) = ready!(inside.poll(context));
                response
            }
            AnswerProjection::Known { answer } => answer.take().expect("an answer is asked for once"),
        };
        drop(in_span);
        let answer = this.entry.let_out(this.gate, this.read, response);
        let observed = this.observed.take().expect("an answer is asked for once");
        Poll::Ready(observed.end(answer))
    }
}

impl Entry {
    /// What becomes of the answer to a request that entered so. One that is marked [`HangUp`] closes the connection, and the client is told when the
    /// connection ends with the answer because the rest of the request is not read.
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
