//! A TCP proxy in front of PostgreSQL that injects faults at chosen points of the stream.
//!
//! It finds the messages of the protocol that belong to the statement that stores events: the Bind of a prepared
//! statement whose text calls `analytics.ingest`, and everything up to its Sync. The daemon knows the fate of the
//! statement only after the last message of the reply, so each fault happens between these two.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

/// The text of a prepared statement that stores events, with keys or without.
const STORES_EVENTS: &[u8] = b"analytics.ingest";
/// The version in the message that opens a session. Other messages request encryption, or cancel a statement.
const PROTOCOL_3: [u8; 4] = [0, 3, 0, 0];
/// How long a fault may wait for a statement that stores events.
const PATIENCE: Duration = Duration::from_mins(1);
/// In bytes.
const READ_AHEAD: usize = 64 * 1024;

/// A fault of the statement that stores events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both sides are cut before the statement reaches the server: it is not stored.
    CutBeforeStatement,
    /// The statement is executed, and both sides are cut before the Sync that commits it: it is not stored.
    CutBeforeCommit,
    /// The commit reaches the server and both sides are cut at once: it may be stored or not, perhaps a moment later.
    CutDuringCommit,
    /// The commit is complete and the answer is dropped: it is stored.
    CutBeforeReply,
    /// The commit is complete and the answer is cut in its middle: it is stored.
    CutInReply,
    DelayReply(Duration),
    /// The statement is held back until [`Proxy::let_go`]. Then it reaches the server, even if its client has given
    /// it up.
    HoldStatement,
    /// The proxy answers with an error, like a pooler that lost its server.
    Answer(FalseError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FalseError {
    pub(crate) place: ErrorPlace,
    /// Five letters or digits, see PostgreSQL's appendix A.
    pub(crate) code: &'static str,
    /// FATAL and PANIC end the connection. A pooler may also end it after ERROR.
    pub(crate) severity: &'static str,
    /// Whether the connection stays open.
    pub(crate) goes_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorPlace {
    /// The server does not get the statement: it is not stored.
    InsteadOfStatement,
    /// The commit is complete: it is stored.
    InsteadOfAnswer,
    /// After the answer to a complete commit, before the server is ready for the next statement: it is stored.
    AfterAnswer,
}

/// When it is dropped, it ends with all its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    url: String,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

struct Control {
    server: PathBuf,
    next: Mutex<Option<Fault>>,
    injected: AtomicU64,
    stalled: watch::Sender<bool>,
    holds: watch::Sender<bool>,
}

impl Proxy {
    /// For the database and the user in the URL.
    pub(crate) async fn start(server_url: &str, socket: &Path) -> anyhow::Result<Self> {
        let config: tokio_postgres::Config = server_url.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
        let address = listener.local_addr()?;
        // It reads what passes, which does not begin with a question whether TLS is spoken.
        let url = format!("postgres://{user}@{address}/{database}?sslmode=disable");
        let control = Arc::new(Control {
            server: socket.to_owned(),
            next: Mutex::new(None),
            injected: AtomicU64::new(0),
            stalled: watch::channel(false).0,
            holds: watch::channel(false).0,
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&control)));
        Ok(Self { address, url, control, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The fault happens to the next statement that stores events.
    pub(crate) fn arm(&self, fault: Fault) {
        if fault == Fault::HoldStatement {
            self.control.holds.send_replace(true);
        }
        *self.control.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Waits until a fault has happened to a statement.
    pub(crate) async fn inject(&self, fault: Fault) -> anyhow::Result<()> {
        let (before, began) = (self.injected(), Instant::now());
        self.arm(fault);
        while self.injected() == before {
            ensure!(
                began.elapsed() < PATIENCE,
                "no statement that stores events came within {PATIENCE:?} for {fault:?}"
            );
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The number of faults that have happened.
    pub(crate) fn injected(&self) -> u64 {
        self.control.injected.load(Ordering::SeqCst)
    }

    /// Sends the statements that were held back.
    pub(crate) fn let_go(&self) {
        self.control.holds.send_replace(false);
    }

    /// Stops all traffic without closing anything, also on new connections.
    pub(crate) fn stall(&self) {
        self.control.stalled.send_replace(true);
    }

    /// Ends the stall.
    pub(crate) fn go_on(&self) {
        self.control.stalled.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Control {
    fn take_fault(&self) -> Option<Fault> {
        let fault = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if fault.is_some() {
            self.injected.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }

    async fn flowing(&self) {
        // The sender lives as long as this does.
        let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
    }

    async fn let_go(&self) {
        let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    // Aborted with this task when it is dropped.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let control = Arc::clone(&control);
        connections.spawn(async move {
            control.flowing().await;
            // A broken connection is no error here.
            if let Ok(server) = UnixStream::connect(&control.server).await {
                let _ = Session::new(client, server, &control).run().await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Session<'a> {
    control: &'a Control,
    client: Messages<tokio::net::tcp::OwnedReadHalf>,
    to_client: tokio::net::tcp::OwnedWriteHalf,
    server: Messages<tokio::net::unix::OwnedReadHalf>,
    to_server: tokio::net::unix::OwnedWriteHalf,
    /// The names of the prepared statements that store events.
    storing: HashSet<Vec<u8>>,
    /// How many requests the server has not answered to their end.
    unanswered: usize,
    /// The fault of the current statement.
    fault: Option<Fault>,
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Cut,
}

impl<'a> Session<'a> {
    fn new(client: TcpStream, server: UnixStream, control: &'a Control) -> Self {
        let _ = client.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        Self {
            control,
            client: Messages::new(from_client, true),
            to_client,
            server: Messages::new(from_server, false),
            to_server,
            storing: HashSet::new(),
            unanswered: 0,
            fault: None,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let next = select! {
                message = self.client.next() => {
                    let Some(message) = message? else { return Ok(()) };
                    self.control.flowing().await;
                    self.pass_request(message).await?
                }
                message = self.server.next() => {
                    let Some(message) = message? else { return Ok(()) };
                    self.control.flowing().await;
                    self.pass_reply(message).await?
                }
            };
            if next == Next::Cut {
                return Ok(());
            }
        }
    }

    async fn pass_request(&mut self, message: Message) -> io::Result<Next> {
        match message.kind {
            b'P' if contains(&message.bytes, STORES_EVENTS) => {
                self.storing.insert(text_at(message.body(), 0).to_owned());
            }
            b'B' => {
                let portal = text_at(message.body(), 0).len() + 1;
                // One sent ahead of the answer to this one would otherwise forget the fault.
                if self.fault.is_none() && self.storing.contains(text_at(message.body(), portal)) {
                    self.fault = self.control.take_fault();
                    if self.fault.is_some() && self.pass_replies().await? == Next::Cut {
                        return Ok(Next::Cut);
                    }
                }
            }
            _ => {}
        }
        if let Some(Fault::Answer(error @ FalseError { place: ErrorPlace::InsteadOfStatement, .. })) = self.fault {
            return if message.kind == b'S' { self.answer(error).await } else { Ok(Next::GoOn) };
        }
        match (self.fault, message.kind) {
            (Some(Fault::CutBeforeStatement), _) | (Some(Fault::CutBeforeCommit), b'S') => return Ok(Next::Cut),
            (Some(Fault::HoldStatement), b'B') => self.control.let_go().await,
            _ => {}
        }
        self.to_server.write_all(&message.bytes).await?;
        // A Sync and a simple query are answered by one ReadyForQuery each.
        self.unanswered += usize::from(matches!(message.kind, b'S' | b'Q'));
        match (self.fault, message.kind) {
            (Some(Fault::CutDuringCommit), b'S') => Ok(Next::Cut),
            // The server sends its answer only after a Flush or Sync. Once a Flush is answered, the statement was
            // executed.
            (Some(Fault::CutBeforeCommit), b'E') => {
                self.to_server.write_all(&FLUSH).await?;
                while let Some(reply) = self.server.next().await? {
                    if reply.kind == b'C' || reply.kind == b'E' {
                        return Ok(Next::Cut);
                    }
                }
                Ok(Next::Cut)
            }
            _ => Ok(Next::GoOn),
        }
    }

    /// Passes the answers to statements that were sent before, so that a fault happens to its own.
    async fn pass_replies(&mut self) -> io::Result<Next> {
        while self.unanswered > 0 {
            let Some(message) = self.server.next().await? else { return Ok(Next::Cut) };
            self.unanswered -= usize::from(message.kind == b'Z');
            self.to_client.write_all(&message.bytes).await?;
        }
        Ok(Next::GoOn)
    }

    async fn pass_reply(&mut self, message: Message) -> io::Result<Next> {
        let is_last = message.kind == b'Z';
        // The first one of a session answers its opening.
        self.unanswered = self.unanswered.saturating_sub(usize::from(is_last));
        match self.fault {
            Some(Fault::CutBeforeReply) => return Ok(if is_last { Next::Cut } else { Next::GoOn }),
            Some(Fault::CutInReply) if is_last => return Ok(Next::Cut),
            Some(Fault::CutInReply) => {
                let half = message.bytes.len() / 2;
                // Half of the first message; the rest is dropped.
                self.fault = Some(Fault::CutBeforeReply);
                self.to_client.write_all(&message.bytes[..half]).await?;
                return Ok(Next::GoOn);
            }
            Some(Fault::DelayReply(delay)) => {
                sleep(delay).await;
                self.fault = None;
            }
            Some(Fault::HoldStatement) if is_last => self.fault = None,
            Some(Fault::Answer(error)) if is_last => return self.answer(error).await,
            Some(Fault::Answer(FalseError { place: ErrorPlace::InsteadOfAnswer, .. })) => return Ok(Next::GoOn),
            _ => {}
        }
        self.to_client.write_all(&message.bytes).await?;
        Ok(Next::GoOn)
    }

    async fn answer(&mut self, error: FalseError) -> io::Result<Next> {
        self.fault = None;
        self.to_client.write_all(&error.to_message()).await?;
        if !error.goes_on {
            return Ok(Next::Cut);
        }
        self.to_client.write_all(&READY).await?;
        Ok(Next::GoOn)
    }
}

impl FalseError {
    /// A field of the protocol is a letter and a text that ends with a zero.
    fn to_message(self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (field, text) in [
            (b'S', self.severity),
            (b'V', self.severity),
            (b'C', self.code),
            (b'M', "the proxy answers in the name of the server"),
        ] {
            fields.push(field);
            fields.extend_from_slice(text.as_bytes());
            fields.push(0);
        }
        fields.push(0);
        let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
        [&[b'E'][..], &length.to_be_bytes(), &fields].concat()
    }
}

/// `ReadyForQuery`, outside a transaction.
const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

/// Flush: the server sends its answers without a commit.
const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];

/// A message of the protocol: its kind (a letter), its length, and the rest.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

struct Messages<R> {
    from: R,
    buffer: Vec<u8>,
    /// The first message of a client has no letter; its kind is 0 here.
    is_opening: bool,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    fn new(from: R, is_opening: bool) -> Self {
        Self { from, buffer: Vec::with_capacity(READ_AHEAD), is_opening }
    }

    /// None at the end of the stream. Cancel-safe.
    async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            self.buffer.reserve(READ_AHEAD);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Option<Message> {
        let letters = usize::from(!self.is_opening);
        let length = self.buffer.get(letters..letters + 4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize + letters;
        if self.buffer.len() < length {
            return None;
        }
        let rest = self.buffer.split_off(length);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let kind = if self.is_opening { 0 } else { bytes[0] };
        self.is_opening = self.is_opening && bytes.get(4..8) != Some(&PROTOCOL_3);
        Some(Message { kind, bytes })
    }
}

/// The text that ends with a zero.
fn text_at(body: &[u8], start: usize) -> &[u8] {
    let rest = body.get(start..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
