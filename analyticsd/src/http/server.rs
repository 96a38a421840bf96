//! Accepts connections and serves them until a future resolves. The caller owns the listener and decides when to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::http::{
    connection_limit::{ConnectionLimit, LimitReached},
    error::ApiError,
    overload::{self, MAX_REFUSALS},
    service::HttpService,
};

/// Limits of a server. Beyond them a client is refused or disconnected, so that nothing grows without bound.
///
/// A connection takes about 10 KiB, and up to twice `header_bytes` more for a head and unread answers. With the
/// defaults that is at most 420 MiB; 10,000 connections that had each sent 16 KiB of a head took 260 MiB. The system's
/// buffers come on top.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most connections at a time. Further ones get 503 at once and are closed.
    pub(crate) connections: usize,
    /// The most connections of one address that is not a trusted proxy. Further ones get the same answer.
    pub(crate) connections_per_address: Option<usize>,
    /// The most connections that are refused at a time. Further ones are closed without an answer.
    pub(crate) refusals: usize,
    /// The longest that a client may take to send the head of a request, counted from the start of the connection or
    /// the previous answer.
    pub(crate) header_timeout: Duration,
    /// The most bytes in the head of a request, from 8,192 up. Up to as many bytes of unread answers may wait as well.
    pub(crate) header_bytes: usize,
    /// The longest that a client may leave answers unread or unacknowledged, on Linux. The kernel checks it from time
    /// to time, so the connection ends within twice this time.
    pub(crate) unread_timeout: Duration,
    /// The longest that a stop may wait for requests under way.
    pub(crate) shutdown_timeout: Duration,
}

impl Limits {
    /// For the few clients that read the metrics. One of them needs one connection, and cannot keep others out with
    /// idle ones.
    pub(crate) fn admin() -> Self {
        Self { connections: 16, connections_per_address: Some(4), refusals: 16, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: None,
            refusals: MAX_REFUSALS,
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            unread_timeout: Duration::from_secs(20),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// How many connections may wait in the system's backlog, if it allows so many. A client that finds it full tries again
/// only after a second.
const BACKLOG: u32 = 4_096;

/// Takes an address, on which nobody can connect yet. Fails if another process listens there.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Otherwise a restart would have to wait until the system has forgotten the last connections of the daemon before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

pub(crate) fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)
}

/// Serves on `listener` until `stop` resolves. Then it accepts no more connections and answers the requests under way.
///
/// Returns whether every request under way was answered before [`Limits::shutdown_timeout`] ran out.
pub(crate) async fn serve(
    listener: TcpListener,
    service: HttpService,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> bool {
    let limit = ConnectionLimit::new(limits.connections, limits.connections_per_address);
    let service = Arc::new(service);
    service.connections().limit.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
    let refusals = Arc::new(Semaphore::new(limits.refusals));
    let [too_many, too_many_of_one] =
        [ApiError::Connections, ApiError::ConnectionsOfAddress].map(|error| Arc::<[u8]>::from(overload::answer(error)));
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(limits.header_bytes);
    // An answer is a few dozen bytes: copying its body behind its head costs less than a vectored write.
    http.writev(false);
    // A client that closes its sending side still gets its answer.
    http.half_close(true);

    tokio::pin!(stop);
    loop {
        let (stream, client) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => (stream, client.ip()),
                Err(error) => {
                    service.connections().failed.add(1);
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let permit = match limit.take(client, service.is_proxy(client)) {
            Ok(permit) => permit,
            Err(reason) => {
                if let Ok(refusing) = Arc::clone(&refusals).try_acquire_owned() {
                    let (refused, answer) = match reason {
                        LimitReached::ForAnybody => (&service.connections().refused, &too_many),
                        LimitReached::ForThisAddress => (&service.connections().refused_of_one, &too_many_of_one),
                    };
                    refused.add(1);
                    let answer = Arc::clone(answer);
                    tokio::spawn(async move {
                        overload::refuse(stream, &answer).await;
                        drop(refusing);
                    });
                } else {
                    service.connections().dropped.add(1);
                }
                continue;
            }
        };
        service.connections().accepted.add(1);
        prepare(&stream, limits.unread_timeout);
        let peer = service.peer(client);
        let [answering, counted] = [&service, &service].map(Arc::clone);
        let answer = service_fn(move |request| answering.answer(peer, request));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), answer));
        tokio::spawn(async move {
            let _open = counted.connections().open.hold();
            if let Err(error) = connection.await {
                counted.connections().broken.count(&error);
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }

    drop(listener);
    timeout(limits.shutdown_timeout, connections.shutdown()).await.is_ok()
}

fn prepare(stream: &TcpStream, unread_timeout: Duration) {
    // An answer is small and complete when it is written, so waiting to fill a packet would only delay it.
    let _ = stream.set_nodelay(true);
    // Only the system sees whether a client reads its answers; it ends the connection if not.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(unread_timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = unread_timeout;
}

/// A connection that was reset before it was accepted needs no pause. Any other error, such as a lack of file
/// descriptors, lasts, and must not cause a busy loop.
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::error!(%error, "cannot accept connections; trying again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
