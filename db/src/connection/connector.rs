//! Opens connections: to the first address of a database that answers and is the one looked for.

use std::{
    future,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Socket,
    config::{Host, SslMode},
    error::SqlState,
    tls::MakeTlsConnect,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    database_url::{DatabaseUrl, DatabaseUrlError},
    hosts::{Hosts, NotFound, Target},
    lineage::{LineageError, Role, Takeovers, role},
    tls::{Encryption, Tls, TlsError},
};
use crate::{
    StoreError,
    identity::{Expected, FoundAt, Misplaced, ask},
    tls_faults,
};

/// The function of the server that waits for a standby, by which its warnings are known in any language.
const WAIT_FOR_STANDBY: &str = "SyncRepWaitForLSN";

/// Opens connections, trying one address after the other.
pub(crate) struct Connector {
    config: Config,
    hosts: Arc<Hosts>,
    encryption: Encryption,
    takes_standbys: bool,
    /// What a database must say of itself; none for a look at one as it is.
    expected: Option<Expected>,
    /// For one address, from its first packet until a session is there.
    limit: Option<Duration>,
    default_limit: Duration,
    /// What was opened before is not used again.
    sound_since: Mutex<Option<Instant>>,
}

/// Why no connection could be opened to one address.
#[derive(Debug, Error)]
enum ConnectError {
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "the server is a standby, and what it shows may be older than what was acknowledged; name the primary, or all hosts of which one may be it"
    )]
    Standby,
    #[error(transparent)]
    Lineage(#[from] LineageError),
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Driver(error) => Self::of_new_session(error),
            ConnectError::Silent(limit) => Self::TimedOut(limit),
            ConnectError::Misplaced(misplaced) => Self::Misplaced(Box::new(misplaced)),
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
    /// As it stands in URLs.
    pub(super) server: String,
}

impl Connected {
    /// The server that it leads to, as it stands in URLs.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

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

impl From<NotFound> for StoreError {
    fn from(error: NotFound) -> Self {
        match error {
            NotFound::Silent(limit) => Self::TimedOut(limit),
            other @ NotFound::Unknown(_) => Self::Unreachable(Box::new(other)),
        }
    }
}

impl Connector {
    /// `default_limit` is for one of several addresses, where the URL names no limit.
    pub(crate) fn new(
        url: &str,
        default_limit: Duration,
        expected: Option<Expected>,
        settings: impl FnOnce(&mut Config),
    ) -> Result<Self, DatabaseUrlError> {
        let DatabaseUrl { mut config, hosts, encryption, connect_timeout, is_balanced, takes_standbys } =
            DatabaseUrl::read(url)?;
        settings(&mut config);
        Ok(Self {
            config,
            hosts: Arc::new(Hosts::new(hosts, is_balanced)),
            encryption,
            takes_standbys,
            expected,
            limit: connect_timeout,
            default_limit,
            sound_since: Mutex::default(),
        })
    }

    /// Opens connections to the same database, and shares what is known of its hosts.
    pub(crate) fn for_other_uses(&self, default_limit: Duration, settings: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        settings(&mut config);
        Self {
            config,
            hosts: Arc::clone(&self.hosts),
            encryption: self.encryption.clone(),
            takes_standbys: self.takes_standbys,
            expected: self.expected.clone(),
            limit: self.limit,
            default_limit,
            sound_since: Mutex::default(),
        }
    }

    /// Opens connections to the same database, whatever it says of itself.
    pub(crate) fn without_identity(&self) -> Self {
        Self { expected: None, ..self.for_other_uses(self.default_limit, |_| {}) }
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
        self.hosts.lineage.takeovers() == takeovers
    }

    /// Opens a connection. It goes on to the end if the caller gives up, so that the next one knows which host answers.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Connected, StoreError> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.try_all().await }).await.expect("nobody aborts it, and it does not panic")
    }

    async fn try_all(&self) -> Result<Connected, StoreError> {
        let (targets, not_found) = self.hosts.in_order(self.limit.unwrap_or(self.default_limit)).await;
        let mut failed: Vec<_> = not_found.into_iter().map(|(name, error)| (name, StoreError::from(error))).collect();
        // There is nothing else to try: a slow way to the only address has the more time.
        let limit = self.limit.unwrap_or(if targets.len() == 1 { self.default_limit * 3 } else { self.default_limit });
        for target in targets {
            match timeout(limit, self.open(&target)).await.unwrap_or(Err(ConnectError::Silent(limit))) {
                Ok(connected) => {
                    self.hosts.remember(target);
                    return Ok(connected);
                }
                Err(error) => failed.push((target.to_string(), StoreError::from(error))),
            }
        }
        Err(StoreError::of_addresses(failed, self.hosts.is_one()))
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
        // Both at once, in one round trip.
        let (role, said) = tokio::join!(role(&connected), async {
            match &self.expected {
                Some(expected) => ask(&connected).await.map(|found| Some((expected, found))),
                None => Ok(None),
            }
        });
        let found = match role? {
            Role::Standby if !self.takes_standbys => return Err(ConnectError::Standby),
            Role::Standby => None,
            Role::Primary(found) => found,
        };
        connected.takeovers = self.hosts.lineage.check(found, &target.to_string())?;
        if let Some((expected, found)) = said? {
            expected.check(&FoundAt { found, server: connected.server.clone() })?;
        }
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
        let server = target.server.whole_name();
        Ok(Connected { client, driver, skipped_standby, takeovers: Takeovers::default(), server })
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
