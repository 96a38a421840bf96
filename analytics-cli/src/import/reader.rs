//! Reads one input on a thread of its own, since it may block for long.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    rc::Rc,
    thread,
};

use client::{Client, ClientError};
use event_files::{Content, FormatChoice, Reading, Record, Records, Unreadable, text_of};
use model::{SourceList, SourceName, SourcePosition};
use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
};

use super::{
    batch::Batch,
    beginning::Beginning,
    collecting::{Collecting, Place},
    delivery::{Patience, Pauses, Stops},
    fault::Fault,
    follow::{Following, FromStart, rotated},
    input::Input,
    progress::Progress,
    standing::{Kept, Standing, standing_of},
    tally::Tally,
};

/// The most messages that wait to be taken.
const MAX_MESSAGES: usize = 4;

/// What the thread found.
pub(crate) enum Message {
    /// The format that the first lines told.
    Format(String),
    /// Where the source stands.
    StandsAt(u64),
    /// Events that are stored from an earlier time.
    Stored(Tally),
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
    /// The place of the log that is followed, if it is what that was rotated to.
    pub(crate) rotated_from: Option<PathBuf>,
    /// Whether it is passed over if it is no known source.
    pub(crate) only_known: bool,
}

impl How {
    /// Whether it is to go on whatever happens: for the server that is away, and behind a line that it does not accept.
    pub(crate) fn is_of_a_log_that_is_followed(&self) -> bool {
        self.follows.is_some() || self.rotated_from.is_some()
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

/// Begins to read an input. The thread ends with it, or soon after the receiver is dropped.
pub(crate) fn read(
    input: Input,
    how: How,
    client: Client,
    stops: Stops,
    progress: Progress,
) -> (Collecting, Receiver<Message>) {
    let collecting = Collecting::default();
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

/// The sources that a file may be.
struct Listed {
    known: Vec<(SourceName, SourcePosition)>,
    /// Where parts of each end that some shards have already.
    parts_of_known: Vec<Vec<u64>>,
    /// Those of which only some shards have something. What that is, is not known.
    begun: Vec<(SourceName, Vec<u64>)>,
}

impl Listed {
    fn of(list: SourceList) -> Self {
        let mut listed = Self { known: Vec::new(), parts_of_known: Vec::new(), begun: Vec::new() };
        for source in list.sources {
            let (Ok(name), Some(at)) = (SourceName::new(&*source.name), source.stands_at()) else { continue };
            if at.position == 0 {
                listed.begun.push((name, source.parts_end_at));
            } else {
                listed.known.push((name, at));
                listed.parts_of_known.push(source.parts_end_at);
            }
        }
        listed
    }
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
            stored_to = place.position();
            self.send(Message::StandsAt(stored_to))?;
            self.collecting.begin_at(place);
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
        let count = list.sources.len();
        let Listed { known, parts_of_known, begun } = Listed::of(list);
        let at = |path: &Path| beginning.at(&format!("{}:{}", naming.host, path.display()));
        let own = self.input.place().as_deref().map(at);
        let was = self.how.rotated_from.as_deref().map(at);
        let (standing, text): (_, Box<dyn Read>) = if known.is_empty() {
            (Standing::New, text)
        } else if let Some(again) = again {
            (standing_of(&mut text_of(again)?, &known, own.as_ref())?, text)
        } else {
            let mut kept = Kept::new(text);
            let standing = standing_of(&mut kept, &known, None)?;
            (standing, Box::new(kept.again()?))
        };
        let begun_as = |is: &dyn Fn(&SourceName) -> bool| begun.iter().find(|(name, _)| is(name)).cloned();
        let is_numbered = |name: &SourceName| (0..count).any(|number| *name == beginning.numbered(number));
        let [begun_here, begun_as_log] = [&own, &was].map(|place| begun_as(&|name| Some(name) == place.as_ref()));
        let new = || (beginning.numbered(count), Vec::new());
        #[expect(clippy::match_same_arms, reason = "what is known comes between the two")]
        let (source, parts_end_at) = match (standing, begun_here, begun_as_log) {
            (_, Some(begun), _) => begun,
            (Standing::Known(place), None, _) => {
                let (source, from) = known[place].clone();
                return Ok((Ok(Place::new(source, from, parts_of_known[place].clone())), text));
            }
            (_, None, Some(begun)) => begun,
            (Standing::New | Standing::Changed(_), None, None) if self.how.only_known => {
                return Ok((Err(End { is_unknown: true, ..End::default() }), text));
            }
            // A log whose first line is always the same.
            (Standing::Changed(place), None, None) if self.was_rotated(&known[place]) => {
                begun_as(&is_numbered).unwrap_or_else(new)
            }
            (Standing::Changed(place), None, None) => return Err(Fault::Changed(known[place].1.position)),
            // What has no place is the one that was begun from no place.
            (Standing::New, None, None) if own.is_none() => begun_as(&is_numbered).unwrap_or_else(new),
            // It may be this one, by another name, and then a part of it would be stored again.
            (Standing::New, None, None) if !begun.is_empty() => return Err(Fault::Begun),
            (Standing::New, None, None) => own.map_or_else(new, |own| (own, Vec::new())),
        };
        Ok((Ok(Place::new(source, SourcePosition::default(), parts_end_at)), text))
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
        let (mut position, mut stored, mut was_event) = (0, Tally::default(), false);
        loop {
            let record = records.next()?;
            let before = std::mem::replace(&mut position, records.position());
            let mut copied = copied.borrow_mut();
            // What was read belongs to the record, also headers and empty lines before it.
            let text = copied.take(position - before);
            let already = usize::try_from(stored_to.saturating_sub(before)).unwrap_or(usize::MAX);
            let (summed, text) = text.split_at(already.min(text.len()));
            self.collecting.sum(summed);
            let Some(Record { line, content }) = record else {
                self.pass(text)?;
                break;
            };
            let is_begun = before < stored_to;
            match content {
                // Of one that was imported without its end, only the end is new.
                Content::Event(event) if is_begun && text.trim_ascii().is_empty() => {
                    was_event = true;
                    stored.add_stored(event.hour(), event.kind);
                    self.pass(text)?;
                }
                Content::Event(_) if is_begun => {
                    self.pass(text)?;
                    self.send(Message::Unreadable(line, Unreadable::ImportedInPart))?;
                }
                _ if position <= stored_to || line < self.how.from_line => {}
                Content::Event(event) => {
                    was_event = true;
                    self.send_all(self.collecting.collect(line, &event, text, self.how.batch_size))?;
                }
                Content::LeftOut(reason) => {
                    self.send_all(self.collecting.pass(text, |batch| batch.leave_out(reason)))?;
                }
                Content::Unreadable(reason) => {
                    if reason.is_of_unknown_unit() && !was_event {
                        return Err(Fault::UnknownUnit(reason));
                    }
                    self.pass(text)?;
                    self.send(Message::Unreadable(line, reason))?;
                }
            }
        }
        self.send(Message::Stored(stored))?;
        Ok(End { is_unfinished: records.is_unfinished() && position >= stored_to, is_unknown: false })
    }

    fn pass(&self, text: &[u8]) -> Result<(), Fault> {
        self.send_all(self.collecting.pass(text, |_| {}))
    }

    fn send_all(&self, batches: Vec<Batch>) -> Result<(), Fault> {
        batches.into_iter().try_for_each(|batch| self.send(Message::Batch(batch)))
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
