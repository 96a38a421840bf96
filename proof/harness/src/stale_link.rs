use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_postgres::Config;

use crate::slow_link::socket_of;

/// A connection to a database whose sessions can be made stale, like sessions that were open while the extension was
/// updated: the next statement on such a session ends it. It ends when it is dropped.
pub struct StaleLink {
    url: String,
    stale: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl StaleLink {
    /// To the socket in the URL.
    pub async fn start(database_url: &str) -> Self {
        let config: Config = database_url.parse().expect("the URL is valid");
        let [user, database] = [config.get_user(), config.get_dbname()].map(|name| name.expect("the URL names it"));
        let socket = socket_of(&config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (stale, _) = watch::channel(());
        let sessions = stale.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                tokio::spawn(carry(client, server, sessions.subscribe()));
            }
        });
        Self { url: format!("postgres://{user}@{address}/{database}"), stale, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes all open sessions stale.
    pub fn make_stale(&self) {
        self.stale.send_replace(());
    }
}

impl Drop for StaleLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, mut server: UnixStream, mut stale: watch::Receiver<()>) {
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        Ok(()) = stale.changed() => {}
    }
    let mut statement = [0; 1024];
    if client.read(&mut statement).await.is_ok_and(|length| length > 0) {
        let _ = client.write_all(&end_of_session()).await;
    }
}

/// TimescaleDB sends this on a session that has the library of another version.
fn end_of_session() -> Vec<u8> {
    let fields = "SFATAL\0VFATAL\0CXX000\0M\"timescaledb\" already loaded with a different version\0\0";
    let length = u32::try_from(4 + fields.len()).expect("it is short");
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}
