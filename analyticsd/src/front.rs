//! The way in and out: what every request passes before the routes see it, and every answer on its way back.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use hyper::body::Body;
use thiserror::Error;
use tower_service::Service;
use tracing::Instrument;
use warp::{
    http::{HeaderValue, Request, Uri, header::CONNECTION},
    reply::Response,
};

use crate::{
    access::Gate,
    metrics::{Listener, Metrics, OfListener},
    observer::{Observed, Observer},
    parameters::KeyHeader,
    reply::HangUp,
    watched_body::WatchedBody,
};

/// Who asks: the address at the other end of the connection or, if that is a trusted proxy, the one that it asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The answer that must not be sent: see [`HangUp`].
#[derive(Debug, Error)]
#[error("what became of the request is not known, so the connection is closed without an answer")]
pub(crate) struct NoAnswer;

/// What every request and every answer of a listener passes, whatever its path.
pub struct Front {
    gate: Arc<Gate>,
    observer: Observer,
}

impl Front {
    /// The front of a listener, which lets in whom the gate lets in, and counts in `metrics` what passes.
    pub fn new(gate: Gate, metrics: Arc<Metrics>, listener: Listener) -> Self {
        Self { gate: Arc::new(gate), observer: Observer::new(metrics, listener) }
    }

    /// Where the connections of the listener are counted.
    pub(crate) fn connections(&self) -> &OfListener {
        self.observer.connections()
    }

    /// Lets the routes `inside` answer a request, under the eyes of the observer, who sees what is refused on the way too.
    pub(crate) async fn answer<S, B>(
        &self,
        inside: S,
        client: Client,
        request: Request<B>,
    ) -> Result<Response, NoAnswer>
    where
        S: Service<Request<WatchedBody<B>>, Response = Response, Error = Infallible>,
        B: Body,
    {
        let observed = self.observer.begin(&request);
        let answer = self.pass(inside, client, request, &observed).instrument(observed.span()).await;
        observed.end(answer)
    }

    /// Lets the routes `inside` answer a request, if it may come in. It says who asks, closes the connection in place of an answer that is marked [`HangUp`], and
    /// tells the client when the connection ends with the answer because the rest of the request is not read.
    async fn pass<S, B>(
        &self,
        mut inside: S,
        Client(peer): Client,
        request: Request<B>,
        observed: &Observed<'_>,
    ) -> Result<Response, NoAnswer>
    where
        S: Service<Request<WatchedBody<B>>, Response = Response, Error = Infallible>,
        B: Body,
    {
        let mut request = request.map(WatchedBody::new);
        let read = request.body().read_to_end();
        // `CONNECT host:port` names no path, which warp takes for granted that every request does. Nothing takes that method at this one.
        if request.uri().path().is_empty() {
            *request.uri_mut() = Uri::from_static("/");
        }
        if let Some(key) = KeyHeader::of(request.headers()) {
            request.extensions_mut().insert(key);
        }
        let mut entry = self.gate.enter(peer, &request);
        observed.came_from(entry.client);
        request.extensions_mut().insert(Client(entry.client));
        if let Some(still_allowed) = self.gate.watch(&request) {
            request.extensions_mut().insert(still_allowed);
        }
        let mut response = if let Some(refusal) = entry.refusal.take() {
            refusal
        } else {
            let Ok(response) = inside.call(request).await;
            response
        };
        entry.mark(&self.gate, &mut response);
        if response.extensions().get::<HangUp>().is_some() {
            return Err(NoAnswer);
        }
        if !read.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
