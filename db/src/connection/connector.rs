//! Opens connections: to the first of the hosts of a database URL that answers and is the one looked for.

use std::{
    fmt, future,
    net::{IpAddr, SocketAddr},
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::seq::SliceRandom;
use thiserror::Error;
use tokio::{net::lookup_host, task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Socket,
    config::{Host, SslMode},
    error::SqlState,
    tls::MakeTlsConnect,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    database_url::{DatabaseUrl, DatabaseUrlError, Server},
    lineage::{Lineage, LineageError, Takeovers, seen},
    tls::{Encryption, Tls, TlsError},
};
use crate::{StoreError, tls_faults};

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;
/// The function of the server that waits for a standby, by which its warnings are known in any language.
const WAIT_FOR_STANDBY: &str = "SyncRepWaitForLSN";

/// Opens connections, one host after the other.
pub(crate) struct Connector {
    config: Config,
    hosts: Vec<Server>,
    encryption: Encryption,
    is_balanced: bool,
    /// For one address, from its first packet until a session is there.
    limit: Option<Duration>,
    default_limit: Duration,
    lineage: Lineage,
    /// Is tried first.
    last_good: Mutex<Option<Target>>,
    /// What was opened before is not used again.
    sound_since: Mutex<Option<Instant>>,
}

/// One address of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    server: Server,
    address: Option<IpAddr>,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.server.name();
        match self.address {
            Some(address) if !matches!(&self.server.host, Host::Tcp(host) if host.parse() == Ok(address)) => {
                write!(formatter, "{name} ({address})")
            }
            _ => formatter.write_str(&name),
        }
    }
}

/// Why no connection could be opened to one address.
#[derive(Debug, Error)]
enum ConnectError {
    #[error("the name cannot be looked up: {0}")]
    NotFound(#[source] std::io::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Lineage(#[from] LineageError),
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Driver(error) => Self::of_new_session(error),
            ConnectError::Silent(limit) => Self::TimedOut(limit),
            other => Self::Unreachable(Box::new(other)),
        }
    }
}

/// An open connection. When it is dropped its socket is closed, also if an answer is still awaited.
pub struct Connected {
    pub(super) client: Client,
    pub(super) driver: AbortOnDropHandle<()>,
    /// Whether the server warned that it did not wait for a standby as a commit asks.
    pub(super) skipped_standby: Arc<AtomicBool>,
    pub(super) takeovers: Takeovers,
}

impl Connected {
    /// The driver's client, and the task that the connection ends with.
    pub fn into_parts(self) -> (Client, JoinHandle<()>) {
        (self.client, self.driver.detach())
    }
}

impl Deref for Connected {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Connector {
    /// `default_limit` is for one of several addresses, where the URL names no limit.
    pub(crate) fn new(
        url: &str,
        default_limit: Duration,
        settings: impl FnOnce(&mut Config),
    ) -> Result<Self, DatabaseUrlError> {
        let DatabaseUrl { mut config, hosts, encryption, connect_timeout, is_balanced } = DatabaseUrl::read(url)?;
        settings(&mut config);
        Ok(Self {
            config,
            hosts,
            encryption,
            is_balanced,
            limit: connect_timeout,
            default_limit,
            lineage: Lineage::default(),
            last_good: Mutex::default(),
            sound_since: Mutex::default(),
        })
    }

    /// What is open now is not to be used again.
    pub(crate) fn distrust_open_connections(&self) {
        *self.sound_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection that was opened then may be used.
    pub(super) fn trusts(&self, opened: Instant) -> bool {
        self.sound_since.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| opened >= since)
    }

    /// Whether no other server has taken over since a connection was opened.
    pub(super) fn is_current(&self, takeovers: Takeovers) -> bool {
        self.lineage.takeovers() == takeovers
    }

    /// Opens a connection. It goes on to the end if the caller gives up, so that the next one knows which host answers.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Connected, StoreError> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.try_all().await }).await.expect("nobody aborts it, and it does not panic")
    }

    async fn try_all(&self) -> Result<Connected, StoreError> {
        let (targets, mut failed) = self.targets().await;
        // There is nothing else to try: a slow way to the only address has the more time.
        let limit = self.limit.unwrap_or(if targets.len() == 1 { self.default_limit * 3 } else { self.default_limit });
        for target in targets {
            match timeout(limit, self.open(&target)).await.unwrap_or(Err(ConnectError::Silent(limit))) {
                Ok(connected) => {
                    *self.last_good.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
                    return Ok(connected);
                }
                Err(error) => failed.push((target.to_string(), StoreError::from(error))),
            }
        }
        Err(StoreError::of_addresses(failed, self.hosts.len() == 1))
    }

    /// All addresses, in the order in which they are tried, and the names that could not be looked up.
    async fn targets(&self) -> (Vec<Target>, Vec<(String, StoreError)>) {
        let (mut targets, mut failed) = (Vec::new(), Vec::new());
        for server in &self.hosts {
            match self.addresses(server).await {
                Ok(addresses) => {
                    targets.extend(addresses.into_iter().map(|address| Target { server: server.clone(), address }));
                }
                Err(error) => failed.push((server.name(), StoreError::from(error))),
            }
        }
        if self.is_balanced {
            targets.shuffle(&mut rand::rng());
        } else if let Some(last) = &*self.last_good.lock().unwrap_or_else(PoisonError::into_inner) {
            // A stable sort: the others stay in their order.
            targets.sort_by_key(|target| target != last);
        }
        (targets, failed)
    }

    async fn addresses(&self, server: &Server) -> Result<Vec<Option<IpAddr>>, ConnectError> {
        let name = match (&server.host, server.address) {
            (Host::Unix(_), _) => return Ok(vec![None]),
            (_, Some(address)) => return Ok(vec![Some(address)]),
            (Host::Tcp(name), None) => name,
        };
        let limit = self.limit.unwrap_or(self.default_limit);
        let found = timeout(limit, lookup_host((name.as_str(), server.port))).await;
        let found = found.map_err(|_| ConnectError::Silent(limit))?.map_err(ConnectError::NotFound)?;
        let mut addresses: Vec<_> = found.map(|address: SocketAddr| Some(address.ip())).collect();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        Ok(addresses)
    }

    async fn open(&self, target: &Target) -> Result<Connected, ConnectError> {
        let mut connected = match &self.encryption {
            _ if matches!(target.server.host, Host::Unix(_)) => self.open_with(target, SslMode::Disable, NoTls).await?,
            Encryption::Never => self.open_with(target, SslMode::Disable, NoTls).await?,
            Encryption::Required(tls) => self.open_with(target, SslMode::Require, connector(tls).await?).await?,
            Encryption::Preferred(tls) => match self.open_with(target, SslMode::Prefer, connector(tls).await?).await {
                Err(error) if may_go_without_tls(&error) => {
                    // The first refusal says more: that of a server that lets nobody in without.
                    self.open_with(target, SslMode::Disable, NoTls).await.map_err(|_| error)?
                }
                opened => opened?,
            },
        };
        connected.takeovers = self.lineage.check(seen(&connected).await?, &target.to_string())?;
        Ok(connected)
    }

    async fn open_with<T>(&self, target: &Target, mode: SslMode, tls: T) -> Result<Connected, tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let mut config = without_hosts(&self.config);
        match &target.server.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(folder) => config.host_path(folder),
        };
        if let Some(address) = target.address {
            config.hostaddr(address);
        }
        let (client, connection) = config.port(target.server.port).ssl_mode(mode).connect(tls).await?;
        let skipped_standby = Arc::<AtomicBool>::default();
        let driver = AbortOnDropHandle::new(tokio::spawn(drive(connection, Arc::clone(&skipped_standby))));
        Ok(Connected { client, driver, skipped_standby, takeovers: Takeovers::default() })
    }
}

/// Lets a connection work until its client is dropped, and looks at what the server says beside its answers.
async fn drive<S>(mut connection: Connection<Socket, S>, skipped_standby: Arc<AtomicBool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // An error ends it. The client sees the same in its next call, where it is handled.
    while let Some(Ok(message)) = future::poll_fn(|context| connection.poll_message(context)).await {
        // It comes before the answer to the statement, and is seen before the client has that.
        if let AsyncMessage::Notice(notice) = message
            && notice.routine() == Some(WAIT_FOR_STANDBY)
        {
            tracing::warn!("the database gave up waiting for its standby within a commit: {}", notice.message());
            skipped_standby.store(true, Ordering::Release);
        }
    }
}

/// Reads the files apart from what other tasks wait for.
async fn connector(tls: &Tls) -> Result<tokio_postgres_rustls::MakeRustlsConnect, TlsError> {
    let tls = tls.clone();
    tokio::task::spawn_blocking(move || tls.connector()).await.expect("nobody aborts it, and it does not panic")
}

/// As libpq has it for `prefer`: where the handshake fails, and where the server lets this login in, but not with TLS.
fn may_go_without_tls(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || tls_faults::fault_in(error).is_some()
}

/// The driver cannot take hosts out again.
fn without_hosts(all: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = all.get_user() {
        config.user(user);
    }
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(name) = all.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    if let Some(name) = all.get_application_name() {
        config.application_name(name);
    }
    if let Some(limit) = all.get_tcp_user_timeout() {
        config.tcp_user_timeout(*limit);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs());
    config
}
