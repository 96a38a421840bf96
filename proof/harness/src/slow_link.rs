use std::{path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_postgres::{Config, config::Host};

/// A slow connection to a database: everything arrives later, in both directions. It ends when it is dropped.
pub struct SlowLink {
    port: u16,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// To the socket in the URL. `delay` is for one direction.
    pub async fn start(database_url: &str, delay: Duration) -> Self {
        let config: Config = database_url.parse().expect("the URL is valid");
        let socket = socket_of(&config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (cut, _) = watch::channel(());
        let task = tokio::spawn(accept(listener, socket, delay, cut.clone()));
        Self { port, cut, task }
    }

    /// Breaks all connections. What is under way is lost.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn socket_of(config: &Config) -> PathBuf {
    let [Host::Unix(folder)] = config.get_hosts() else { panic!("the URL names no socket") };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    folder.join(format!(".s.PGSQL.{port}"))
}

async fn accept(listener: TcpListener, socket: PathBuf, delay: Duration, cut: watch::Sender<()>) {
    while let Ok((client, _)) = listener.accept().await {
        let (socket, [is_cut, answers_are_cut]) = (socket.clone(), [cut.subscribe(), cut.subscribe()]);
        tokio::spawn(async move {
            // A TCP handshake takes one round trip.
            sleep(delay * 2).await;
            let Ok(server) = UnixStream::connect(socket).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay, is_cut));
            carry(from_server, to_client, delay, answers_are_cut).await;
        });
    }
}

/// Delays every piece equally, until either side ends.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
    mut is_cut: watch::Receiver<()>,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((arrives, piece)) = under_way.recv().await {
            tokio::select! {
                () = sleep_until(arrives) => {}
                _ = is_cut.changed() => return,
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 || sender.send((Instant::now() + delay, piece[..length].to_vec())).is_err() {
            return;
        }
    }
}
