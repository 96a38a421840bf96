//! A TCP proxy in front of PostgreSQL that does harm at chosen points of the stream.
//!
//! It understands no more of the protocol than where messages begin and end, and which of them belong to the statement that
//! stores events: a Bind that names a prepared statement whose text calls `analytics.ingest`, and what follows up to its Sync.
//! The daemon knows the fate of that statement only after the last message of the reply, so each fault lies somewhere between.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// What makes a prepared statement one that stores events, with keys or without.
const STORES_EVENTS: &[u8] = b"analytics.ingest";
/// The version in the message that opens a session. Others ask for encryption, or to cancel a statement.
const PROTOCOL_3: [u8; 4] = [0, 3, 0, 0];
/// The most that is read at a time, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// What happens to a statement that stores events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides are cut before anything of the statement reaches the server: it is not stored.
    CutBeforeStatement,
    /// The statement is executed, and both sides are cut before the Sync that commits it: it is not stored.
    CutBeforeCommit,
    /// The commit reaches the server and both sides are cut at once: it may be stored or not, and perhaps only in a moment.
    CutDuringCommit,
    /// The commit is complete and the answer is swallowed: it is stored.
    CutBeforeReply,
    /// The commit is complete and the answer breaks off in its middle: it is stored.
    CutInReply,
    /// The answer comes late.
    DelayReply(Duration),
    /// The statement is held back until [`Proxy::let_go`], and then reaches the server, however long nobody has waited for it.
    HoldStatement,
    /// The proxy itself answers with an error, as poolers do that lose their server.
    Answer(FalseError),
}

/// An error that no server raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FalseError {
    /// Where it stands.
    pub place: ErrorPlace,
    /// Five letters or digits, see PostgreSQL's appendix A.
    pub code: &'static str,
    /// FATAL and PANIC end the connection. So may an ERROR that comes from a pooler.
    pub severity: &'static str,
    /// Whether the connection goes on after it.
    pub goes_on: bool,
}

/// Where a [`FalseError`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorPlace {
    /// In place of the statement, of which the server hears nothing: it is not stored.
    InsteadOfStatement,
    /// In place of the answer to a commit that is complete: it is stored.
    InsteadOfAnswer,
    /// Behind the answer of a commit that is complete, before the server is ready for the next statement: it is stored.
    AfterAnswer,
}

/// A running proxy. It ends, and with it all connections through it, when it is dropped.
pub struct Proxy {
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
    /// Starts a proxy in front of a server's socket, for the database and the user of its URL.
    pub async fn start(server_url: &str, socket: &Path) -> anyhow::Result<Self> {
        let config: tokio_postgres::Config = server_url.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
        let url = format!("postgres://{user}@{}/{database}", listener.local_addr()?);
        let control = Arc::new(Control {
            server: socket.to_owned(),
            next: Mutex::new(None),
            injected: AtomicU64::new(0),
            stalled: watch::channel(false).0,
            holds: watch::channel(false).0,
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&control)));
        Ok(Self { url, control, task })
    }

    /// Where to connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Does this to the next statement that stores events.
    pub fn arm(&self, fault: Fault) {
        if fault == Fault::HoldStatement {
            self.control.holds.send_replace(true);
        }
        *self.control.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// How many statements met their fault.
    pub fn injected(&self) -> u64 {
        self.control.injected.load(Ordering::SeqCst)
    }

    /// Lets statements go that were held back.
    pub fn let_go(&self) {
        self.control.holds.send_replace(false);
    }

    /// Lets everything stand still without closing anything: what flows, and connections that are opened from now on.
    pub fn stall(&self) {
        self.control.stalled.send_replace(true);
    }

    /// Lets everything go on.
    pub fn go_on(&self) {
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
            // A connection that breaks, by itself or by a fault, is just over.
            if let Ok(server) = UnixStream::connect(&control.server).await {
                let _ = Session::new(client, server, &control).run().await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection through the proxy.
struct Session<'a> {
    control: &'a Control,
    client: Messages<tokio::net::tcp::OwnedReadHalf>,
    to_client: tokio::net::tcp::OwnedWriteHalf,
    server: Messages<tokio::net::unix::OwnedReadHalf>,
    to_server: tokio::net::unix::OwnedWriteHalf,
    /// The names of prepared statements that store events.
    storing: HashSet<Vec<u8>>,
    /// What happens to the statement under way.
    fault: Option<Fault>,
}

/// Whether a connection goes on.
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
                if self.storing.contains(text_at(message.body(), portal)) {
                    self.fault = self.control.take_fault();
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
        match (self.fault, message.kind) {
            (Some(Fault::CutDuringCommit), b'S') => Ok(Next::Cut),
            // The server writes what it has answered so far only when it is asked to, so it is asked: then it has executed.
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

    async fn pass_reply(&mut self, message: Message) -> io::Result<Next> {
        let is_last = message.kind == b'Z';
        match self.fault {
            Some(Fault::CutBeforeReply) => return Ok(if is_last { Next::Cut } else { Next::GoOn }),
            Some(Fault::CutInReply) if is_last => return Ok(Next::Cut),
            Some(Fault::CutInReply) => {
                let half = message.bytes.len() / 2;
                // Half of the first message, and what follows is swallowed.
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

    /// Answers in the name of the server.
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
    /// As the protocol writes it: a field is a letter and a text that ends with a zero.
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

/// Says that the server is ready for the next statement, outside a transaction.
const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

/// Asks the server to send what it has answered, without committing.
const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];

/// One message of the protocol: a letter that says what it is, its length, and the rest.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

/// Cuts a stream into messages.
struct Messages<R> {
    from: R,
    buffer: Vec<u8>,
    /// The first message of a client has no letter. It stands as one of kind 0.
    is_opening: bool,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    fn new(from: R, is_opening: bool) -> Self {
        Self { from, buffer: Vec::with_capacity(READ_AHEAD), is_opening }
    }

    /// The next message, or none when the stream has ended. Can be dropped and called again without losing a byte.
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

/// The text that begins at a place and ends with a zero.
fn text_at(body: &[u8], start: usize) -> &[u8] {
    let rest = body.get(start..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
