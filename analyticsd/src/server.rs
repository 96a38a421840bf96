//! Accepts connections and serves them until told to stop. The caller owns the listener and decides when to stop.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{body::Body, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tower_service::Service;
use warp::{
    Filter, Reply,
    http::{HeaderValue, Request, Uri, header::CONNECTION},
    reply::Response,
};

use crate::{
    parameters::KeyHeader,
    refusal::{self, MAX_REFUSALS},
    reply::HangUp,
    watched_body::WatchedBody,
};

/// Limits of a server. Past them a client is refused or cut off; nothing grows without bound.
///
/// A connection takes about 10 KiB, and up to twice `header_bytes` more while it holds a head and answers that are not read. With the defaults that is
/// 420 MiB at worst; 10,000 connections that had each sent 16 KiB of a head took 260 MiB. What the system holds for its sockets comes on top.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at a time. Further ones are answered 503 at once and closed.
    pub connections: usize,
    /// The longest that a client may take to send the head of a request, counted from the connection's beginning or the answer before.
    pub header_timeout: Duration,
    /// The most bytes in the head of a request, from 8,192 up. As many again may wait for a client that does not read its answers.
    pub header_bytes: usize,
    /// The longest that a client may leave what it was sent unread or unacknowledged, on Linux, which looks after it now and then: its
    /// connection ends within twice this time.
    pub unread_timeout: Duration,
    /// The longest that a stop may wait for requests under way.
    pub shutdown_timeout: Duration,
}

impl Limits {
    /// For the few who ask what the daemon counts about itself.
    pub fn admin() -> Self {
        Self { connections: 16, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            unread_timeout: Duration::from_secs(20),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// How many connections may wait in the system until they are accepted, where it allows so many. A client that finds no room there
/// tries again only after a second.
const BACKLOG: u32 = 4_096;

/// Listens on an address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Else a restart would have to wait until the last connections of the daemon before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `routes` on `listener` until `stop` resolves; then accepts nothing more, and answers what was accepted.
///
/// Returns whether every request under way was answered before [`Limits::shutdown_timeout`] ran out.
pub async fn serve<F, R>(listener: TcpListener, routes: F, limits: Limits, stop: impl Future<Output = ()>) -> bool
where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send,
    R: Reply + Send,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let refusal: Arc<[u8]> = refusal::answer().into();
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(limits.header_bytes);
    // An answer is a few dozen bytes: to copy its body behind its head costs less than to hand the system two pieces.
    http.writev(false);
    // A client that has said all it has to say still gets its answer.
    http.half_close(true);

    tokio::pin!(stop);
    loop {
        let (stream, client) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => (stream, client.ip()),
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Ok(refusing) = Arc::clone(&refusals).try_acquire_owned() {
                let refusal = Arc::clone(&refusal);
                tokio::spawn(async move {
                    refusal::refuse(stream, &refusal).await;
                    drop(refusing);
                });
            }
            continue;
        };
        prepare(&stream, limits.unread_timeout);
        let routes = warp::service(routes.clone());
        let service = service_fn(move |request| answer(routes.clone(), Client(client), request));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }

    drop(listener);
    timeout(limits.shutdown_timeout, connections.shutdown()).await.is_ok()
}

fn prepare(stream: &TcpStream, unread_timeout: Duration) {
    // An answer is small and complete when it is written, so waiting to fill a packet would only delay it.
    let _ = stream.set_nodelay(true);
    // The system alone sees whether a client reads what was written to it, and ends the connection if it does not.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(unread_timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = unread_timeout;
}

/// A connection that was reset before it was accepted is the client's affair. Anything else, such as a lack of file descriptors, does
/// not go away at once, and must not become a busy loop.
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::error!(%error, "cannot accept connections; trying again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Who asks: the address at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The answer that must not be sent: see [`HangUp`].
#[derive(Debug, Error)]
#[error("what became of the request is not known, so the connection is closed without an answer")]
struct NoAnswer;

/// What every request and every answer of a connection passes. It says who asks, closes the connection in place of an answer that is marked
/// [`HangUp`], and tells the client when the connection ends with the answer because the rest of the request is not read.
async fn answer<S, B>(mut inside: S, client: Client, request: Request<B>) -> Result<Response, NoAnswer>
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
    request.extensions_mut().insert(client);
    let Ok(mut response) = inside.call(request).await;
    if response.extensions().get::<HangUp>().is_some() {
        return Err(NoAnswer);
    }
    if !read.get() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
