//! Reads one input on a thread of its own, since it may block for long, and collects its events in batches. Whoever sends
//! them may take a batch before it is full.

use std::{
    cell::RefCell,
    fmt,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use client::{Client, ClientError, Step};
use event_files::{Content, FormatChoice, ReadError, Reading, Record, Records, Unreadable, text_of};
use model::{SourceList, SourceName, SourcePosition};
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
};

use super::{
    batch::{Batch, Kinds},
    beginning::Beginning,
    delivery::{Patience, Pauses, Stops},
    follow::{Following, FromStart, rotated},
    input::Input,
    progress::Progress,
    standing::{Kept, Standing, check, standing_of},
};
use crate::failure::server_advice;

/// The most messages that wait to be taken.
const MAX_MESSAGES: usize = 4;
/// Text is summed at once in pieces of this size, which is cheaper than line by line.
const PIECE: usize = 64 * 1024;

/// What the thread found.
pub(crate) enum Message {
    /// The format that the first lines told.
    Format(String),
    /// Where the source stands.
    StandsAt(u64),
    /// Events that are stored from an earlier time.
    Stored(Kinds),
    Unreadable(u64, Unreadable),
    Batch(Batch),
    End(Result<End, Fault>),
}

/// How the text ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Whether its last line lacks its end, and was left for the next time.
    pub(crate) is_unfinished: bool,
    /// Whether it was passed over, because it is no known source.
    pub(crate) is_unknown: bool,
}

#[derive(Debug)]
pub(crate) enum Fault {
    Read(ReadError),
    /// The first timestamp looks like seconds.
    UnknownUnit(Unreadable),
    /// The server does not say where the file stands.
    Server(ClientError),
    /// The file was imported before from the same place, and its content up to this byte was another.
    Changed(u64),
    /// More files begin alike than the server lists.
    TooManyAlike,
    /// Another program sent the source meanwhile, and the server did not compare what this one sent.
    NotCompared,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::UnknownUnit(reason) => {
                write!(f, "{reason}; say the unit with --timestamps s, --timestamps ms or --timestamps rfc3339")
            }
            Self::Server(error) => write!(f, "{error}{}", server_advice(error)),
            Self::Changed(position) => write!(
                f,
                "it was imported before up to byte {position}, and what stood before that byte has changed, or is gone. A file that was \
                 imported may grow, be renamed or be compressed, but its lines must not change"
            ),
            Self::TooManyAlike => write!(f, "more than 1,000 files that were imported begin as it does"),
            Self::NotCompared => write!(
                f,
                "another program sent a text that begins as this one meanwhile, and further, so that it is not known whether \
                 all of this one is stored"
            ),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// How an input is read.
#[derive(Clone)]
pub(crate) struct How {
    /// Whether it goes on behind its end.
    pub(crate) follows: Option<Following>,
    pub(crate) reading: Reading,
    /// The most events of one batch.
    pub(crate) batch_size: usize,
    /// The first line to read, counted from 1.
    pub(crate) from_line: u64,
    /// None: the input is not a source, and is stored as often as it is sent.
    pub(crate) source: Option<Naming>,
    /// Whether it is what a log that is followed was rotated to.
    pub(crate) was_rotated: bool,
    /// Whether it is passed over if it is no known source.
    pub(crate) only_known: bool,
}

impl How {
    /// Whether it is to go on whatever happens: for the server that is away, and behind a line that it does not accept.
    pub(crate) fn is_of_a_log_that_is_followed(&self) -> bool {
        self.follows.is_some() || self.was_rotated
    }
}

/// What tells the source of an input.
#[derive(Clone)]
pub(crate) struct Naming {
    /// The name that the user gave.
    pub(crate) id: Option<String>,
    /// Of this machine.
    pub(crate) host: String,
}

/// The batch that is being collected.
struct Collected {
    batch: Batch,
    /// When its first event came.
    since: Option<Instant>,
    /// None: the input is not a source.
    place: Option<Place>,
}

/// A place in a source: behind the events that were collected.
struct Place {
    source: SourceName,
    /// Where the last batch ended.
    from: SourcePosition,
    position: u64,
    sum: Sha256,
    /// What is to be summed.
    text: Vec<u8>,
}

impl Place {
    fn add(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.position += text.len() as u64;
        if self.text.len() >= PIECE {
            self.sum();
        }
    }

    fn sum(&mut self) {
        self.sum.update(&self.text);
        self.text.clear();
    }

    /// The step from the last batch to here; none if there is nothing between.
    fn step(&mut self) -> Option<Step> {
        if self.position == self.from.position {
            return None;
        }
        self.sum();
        let to = SourcePosition { position: self.position, check: check(&self.sum) };
        let from = std::mem::replace(&mut self.from, to.clone());
        Some(Step { source: self.source.clone(), from, to })
    }
}

/// The batch that a thread collects.
#[derive(Clone)]
pub(crate) struct Collecting(Arc<Mutex<Collected>>);

impl Collecting {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is, if its first event came long enough ago.
    pub(crate) fn take_older_than(&self, age: Duration) -> Option<Batch> {
        let mut collected = self.lock();
        if collected.since.is_some_and(|since| since.elapsed() >= age) { take(&mut collected) } else { None }
    }

    /// Takes what there is: perhaps no event, but text that holds none.
    pub(crate) fn take(&self) -> Option<Batch> {
        take(&mut self.lock())
    }

    /// Up to where the text was read; none if the input is not a source.
    pub(crate) fn position(&self) -> Option<u64> {
        self.lock().place.as_ref().map(|place| place.position)
    }

    /// When the oldest event came that was not taken.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.lock().since
    }
}

fn take(collected: &mut Collected) -> Option<Batch> {
    collected.since = None;
    let batch = std::mem::take(&mut collected.batch);
    match &mut collected.place {
        Some(place) => place.step().map(|step| batch.of_source(step)),
        None => (!batch.is_empty() || !batch.left_out().is_empty()).then_some(batch),
    }
}

/// Begins to read an input. The thread ends with it, or soon after the receiver is dropped.
pub(crate) fn read(
    input: Input,
    how: How,
    client: Client,
    stops: Stops,
    progress: Progress,
) -> (Collecting, Receiver<Message>) {
    let collecting = Collecting(Arc::new(Mutex::new(Collected { batch: Batch::default(), since: None, place: None })));
    let (messages, received) = channel(MAX_MESSAGES);
    let of_thread = Reader {
        input,
        how,
        client,
        stops,
        progress,
        runtime: Handle::current(),
        collecting: collecting.clone(),
        messages,
    };
    thread::spawn(move || {
        let ended = of_thread.run();
        let _ = of_thread.messages.blocking_send(Message::End(ended));
    });
    (collecting, received)
}

/// The place of a text in its source, or why it has none, and the text.
type Found = (Result<Place, End>, Box<dyn Read>);

struct Reader {
    input: Input,
    how: How,
    client: Client,
    stops: Stops,
    progress: Progress,
    runtime: Handle,
    collecting: Collecting,
    messages: Sender<Message>,
}

impl Reader {
    fn run(&self) -> Result<End, Fault> {
        let (file, again): (Box<dyn Read>, _) = match (&self.how.follows, &self.input) {
            (Some(following), Input::File { path, .. }) => {
                let file = following.open(path)?;
                let again = file.again()?;
                (Box::new(file), Some(again))
            }
            (None, Input::File { path, bytes: Some(_) }) => {
                let file = File::open(path)?;
                let again = FromStart::of(&file)?;
                (Box::new(file), Some(again))
            }
            _ => (self.input.open()?, None),
        };
        let mut text = text_of(self.progress.watch(file))?;
        let mut stored_to = 0;
        if let Some(naming) = &self.how.source {
            let place;
            (place, text) = self.find_place(text, again, naming)?;
            let place = match place {
                Ok(place) => place,
                Err(end) => return Ok(end),
            };
            stored_to = place.position;
            self.send(Message::StandsAt(stored_to))?;
            self.collecting.lock().place = Some(place);
        }
        self.read_records(text, stored_to)
    }

    /// Finds out which source a text is; `again` is the same file from its beginning. Without a place there is no whole line
    /// yet. The text that is returned begins at the beginning, and the place is where the source stands.
    fn find_place(&self, text: Box<dyn Read>, again: Option<FromStart>, naming: &Naming) -> Result<Found, Fault> {
        let (beginning, text) = Beginning::of(text, naming.id.as_deref())?;
        let Some(beginning) = beginning else { return Ok((Err(End::default()), text)) };
        if !beginning.is_whole && self.how.reading.leaves_unfinished {
            return Ok((Err(End { is_unfinished: true, ..End::default() }), text));
        }
        let list = self.runtime.block_on(self.ask_for(&beginning.prefix())).map_err(Fault::Server)?;
        if !list.is_whole {
            return Err(Fault::TooManyAlike);
        }
        let known =
            list.sources.iter().filter_map(|listed| Some((SourceName::new(&*listed.name).ok()?, listed.stands_at()?)));
        let known: Vec<_> = known.collect();
        let own = self.input.place().map(|path| beginning.at(&format!("{}:{}", naming.host, path.display())));
        let (standing, text): (_, Box<dyn Read>) = if known.is_empty() {
            (Standing::New, text)
        } else if let Some(again) = again {
            (standing_of(&mut text_of(again)?, &known, own.as_ref())?, text)
        } else {
            let mut kept = Kept::new(text);
            let standing = standing_of(&mut kept, &known, None)?;
            (standing, Box::new(kept.again()?))
        };
        let (source, from) = match standing {
            Standing::Known(place) => known[place].clone(),
            Standing::New | Standing::Changed(_) if self.how.only_known => {
                return Ok((Err(End { is_unknown: true, ..End::default() }), text));
            }
            // A log whose first line is always the same.
            Standing::Changed(place) if self.was_rotated(&known[place]) => {
                (beginning.numbered(known.len()), SourcePosition::default())
            }
            Standing::Changed(place) => return Err(Fault::Changed(known[place].1.position)),
            Standing::New => (own.unwrap_or_else(|| beginning.numbered(known.len())), SourcePosition::default()),
        };
        let place = Place { source, position: from.position, from, sum: Sha256::new(), text: Vec::new() };
        Ok((Ok(place), text))
    }

    /// Whether what a source was stands in a file that the log was rotated to.
    fn was_rotated(&self, source: &(SourceName, SourcePosition)) -> bool {
        let Input::File { path, .. } = &self.input else { return false };
        let is_that = |path: &PathBuf| {
            let text = File::open(path).and_then(text_of);
            let standing = text.and_then(|mut text| standing_of(&mut text, std::slice::from_ref(source), None));
            matches!(standing, Ok(Standing::Known(_)))
        };
        rotated(path).iter().any(is_that)
    }

    async fn ask_for(&self, prefix: &SourceName) -> Result<SourceList, ClientError> {
        let is_endless = self.how.is_of_a_log_that_is_followed();
        let patience = Patience { can_repeat: true, was_reached: false, is_endless, from: None };
        let mut pauses = Pauses::new(patience, &self.stops, &self.progress);
        loop {
            match self.client.sources(prefix).await {
                Ok(list) => return Ok(list),
                Err(error) => pauses.after(error).await?,
            }
        }
    }

    fn read_records(&self, text: Box<dyn Read>, stored_to: u64) -> Result<End, Fault> {
        let copied = Rc::new(RefCell::new(Copied::default()));
        let is_source = self.how.source.is_some();
        let text = Copying { text, copied: is_source.then(|| Rc::clone(&copied)) };
        let mut records = Records::open(text, &self.how.reading)?;
        if let (FormatChoice::Auto, Some(format)) = (&self.how.reading.format, records.format()) {
            self.send(Message::Format(format.to_string()))?;
        }
        let (mut position, mut stored, mut was_event) = (0, Kinds::default(), false);
        loop {
            let record = records.next()?;
            let before = std::mem::replace(&mut position, records.position());
            let mut copied = copied.borrow_mut();
            // What was read belongs to the record, also headers and empty lines before it.
            let text = copied.take(position - before);
            let already = usize::try_from(stored_to.saturating_sub(before)).unwrap_or(usize::MAX);
            let (summed, text) = text.split_at(already.min(text.len()));
            self.sum(summed);
            let Some(Record { line, content }) = record else {
                self.pass(text, |_| {});
                break;
            };
            let is_begun = before < stored_to;
            match content {
                // Of one that was imported without its end, only the end is new.
                Content::Event(event) if is_begun && text.trim_ascii().is_empty() => {
                    was_event = true;
                    stored.count(event.kind);
                    self.pass(text, |_| {});
                }
                Content::Event(_) if is_begun => {
                    self.pass(text, |_| {});
                    self.send(Message::Unreadable(line, Unreadable::ImportedInPart))?;
                }
                _ if position <= stored_to || line < self.how.from_line => {}
                Content::Event(event) => {
                    was_event = true;
                    self.collect(line, &event, text)?;
                }
                Content::LeftOut(reason) => self.pass(text, |batch| batch.leave_out(reason)),
                Content::Unreadable(reason) => {
                    if reason.is_of_unknown_unit() && !was_event {
                        return Err(Fault::UnknownUnit(reason));
                    }
                    self.pass(text, |_| {});
                    self.send(Message::Unreadable(line, reason))?;
                }
            }
        }
        self.send(Message::Stored(stored))?;
        Ok(End { is_unfinished: records.is_unfinished() && position >= stored_to, is_unknown: false })
    }

    /// Sums text that is stored.
    fn sum(&self, text: &[u8]) {
        if let Some(place) = &mut self.collecting.lock().place {
            place.sum.update(text);
        }
    }

    /// Notes text that holds no event to be sent.
    fn pass(&self, text: &[u8], note: impl FnOnce(&mut Batch)) {
        let mut collected = self.collecting.lock();
        note(&mut collected.batch);
        if let Some(place) = &mut collected.place {
            place.add(text);
        }
    }

    /// Adds an event, and passes the batch on when it is full.
    fn collect(&self, line: u64, event: &model::wire::SentEvent, text: &[u8]) -> Result<(), Fault> {
        let full = {
            let mut collected = self.collecting.lock();
            let mut full = None;
            if !collected.batch.push(line, event, self.how.batch_size) {
                full = take(&mut collected);
                let pushed = collected.batch.push(line, event, self.how.batch_size);
                assert!(pushed, "one event is within the limits of a batch");
            }
            collected.since.get_or_insert_with(Instant::now);
            if let Some(place) = &mut collected.place {
                place.add(text);
            }
            full
        };
        full.map_or(Ok(()), |batch| self.send(Message::Batch(batch)))
    }

    fn send(&self, message: Message) -> Result<(), Fault> {
        // Nobody waits for what comes then.
        let ended = |_| Fault::from(io::Error::from(io::ErrorKind::Interrupted));
        self.messages.blocking_send(message).map_err(ended)
    }
}

/// Copies what is read.
struct Copying<R> {
    text: R,
    copied: Option<Rc<RefCell<Copied>>>,
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        if let Some(copied) = &self.copied {
            copied.borrow_mut().add(&buffer[..read]);
        }
        Ok(read)
    }
}

/// What was read and not taken yet.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    taken: usize,
}

impl Copied {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, length: u64) -> &[u8] {
        let from = self.taken;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.taken = from.saturating_add(length).min(self.bytes.len());
        &self.bytes[from..self.taken]
    }
}
