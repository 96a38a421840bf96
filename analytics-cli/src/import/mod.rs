//! Reads files of events and sends them in batches, several at a time, each event under an idempotency key that names its line. So whatever
//! interrupts an import, doing it again counts nothing twice.
//!
//! `source` opens a file, `line_keys` names its lines, the crate `event-files` reads events from it, `batch` gathers them, `delivery` sends them.
//! What cannot be read goes to `rejects`, what is acknowledged is counted by the `tally`, and an import that has to stop says so in `stopped`.

mod batch;
mod delivery;
mod interruption;
mod line_keys;
mod progress;
mod rejects;
mod source;
mod stopped;
mod tally;

use std::{
    io::{self, Read},
    path::PathBuf,
};

use event_files::{Content, Format, Records};
use model::{Event, Timestamp};
use tokio::task::JoinSet;

use self::{
    batch::{Batch, Key},
    delivery::deliver,
    interruption::Interruption,
    line_keys::LineKeys,
    progress::Progress,
    rejects::Rejects,
    stopped::{Cause, Gap},
    tally::Tally,
};
pub(crate) use self::{source::Source, stopped::Stopped};
use crate::{
    failure::{Failure, Verdict},
    output,
    server::{Delivery, Server, ServerError},
    time::seconds_suspicion,
};

/// The most requests that wait for their answers at a time: the daemon stores what arrives meanwhile in one commit.
const MAX_UNDER_WAY: usize = 8;

/// How to import.
#[derive(Debug)]
pub(crate) struct Options {
    /// How the files are written.
    pub(crate) format: Format,
    /// The most events of one request.
    pub(crate) batch_size: usize,
    /// Where lines that cannot be read are written to.
    pub(crate) rejects: Option<PathBuf>,
    /// The first line of the first file to import, counted from 1.
    pub(crate) from_line: u64,
    /// How lines are named.
    pub(crate) keys: Keys,
}

/// How the lines of files are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// By their files' beginnings and by this, if it is given.
    OfLines(Option<String>),
    /// Not at all, unless the file itself names them.
    None,
}

/// Imports the sources one after the other and prints what it came to, also when it has to stop on the way.
pub(crate) async fn run(server: &Server, sources: &[Source], options: Options) -> Result<Verdict, Failure> {
    let mut import = Import {
        server,
        rejects: Rejects::begin(options.rejects.as_deref(), sources)?,
        progress: Progress::begin(sources.iter().map(Source::bytes).sum()),
        interruption: Interruption::listen(),
        tally: Tally::default(),
        suspect: None,
        spooled: 0,
        under_way: JoinSet::new(),
        failed: Vec::new(),
        options,
    };
    let stopped = import.all(sources).await.err();
    import.progress.end();
    import.tally.unreadable = import.rejects.total();
    let printed = output::print(&import.tally.summary(output::palette()));
    import.rejects.tell();
    if import.spooled > 0 {
        output::talk(&format!(
            "{} of these events are not stored yet: the server's database is away, and they will be when it is back",
            import.spooled
        ));
    }
    if let Some(suspect) = import.suspect {
        output::warn(&suspect);
    }
    if let Some(stopped) = stopped {
        return Err(stopped.into());
    }
    printed?;
    Ok(if import.rejects.total() == 0 { Verdict::Yes } else { Verdict::No })
}

struct Import<'a> {
    server: &'a Server,
    options: Options,
    rejects: Rejects,
    progress: Progress,
    interruption: Interruption,
    tally: Tally,
    /// What is strange about the first timestamp that looks like seconds.
    suspect: Option<String>,
    /// How many events the server took while its database was away.
    spooled: u64,
    /// The batches of this file whose answers were not looked at yet.
    under_way: JoinSet<Answered>,
    /// The batches of this file that were not acknowledged, and why.
    failed: Vec<(Batch, ServerError)>,
}

/// A batch and what became of it.
struct Answered {
    batch: Batch,
    outcome: Result<Delivery, ServerError>,
}

/// Where the reading of a file ended before its end.
struct EndedEarly {
    /// Why, unless it is because a batch failed.
    cause: Option<Cause>,
    /// The first line that was not sent.
    first_unsent: u64,
}

impl Import<'_> {
    async fn all(&mut self, sources: &[Source]) -> Result<(), Box<Stopped>> {
        for (position, source) in sources.iter().enumerate() {
            let from_line = if position == 0 { self.options.from_line } else { 1 };
            let ended_early = self.read(source, from_line).await.err();
            // Whatever ended the reading, what was sent before comes first.
            while let Some(answered) = self.under_way.join_next().await {
                self.note(answered.expect("sending a batch does not panic"));
            }
            if let Some((cause, gaps)) = self.what_stopped(ended_early) {
                return Err(Box::new(Stopped {
                    cause,
                    source: source.name(),
                    files_left: sources.len() - position - 1,
                    acknowledged: self.tally.acknowledged.events(),
                    gaps,
                    can_repeat: matches!(self.options.keys, Keys::OfLines(_)),
                }));
            }
        }
        Ok(())
    }

    /// Imports one file. A batch never spans files, so that a file's name and two line numbers say what is in it.
    async fn read(&mut self, source: &Source, from_line: u64) -> Result<(), EndedEarly> {
        let name = source.name();
        let mut batch = Batch::default();
        let stop = |batch: &Batch, line, cause| EndedEarly {
            cause: Some(cause),
            first_unsent: batch.lines().first().copied().unwrap_or(line),
        };
        let (reader, keys) = self.open(source).map_err(|error| stop(&batch, from_line, Cause::Read(error.into())))?;
        let mut records = Records::new(reader, &self.options.format);
        let mut line = from_line;
        loop {
            if self.interruption.happened() {
                return Err(stop(&batch, line, Cause::Interrupted));
            }
            let record = records.next().map_err(|error| stop(&batch, line, Cause::Read(error)))?;
            let Some(record) = record else { break };
            if record.line < from_line {
                continue;
            }
            line = record.line;
            match record.content {
                Content::Event(event) => {
                    let key = keys.as_ref().map(|keys| Key::OfLine(keys.line(line)));
                    self.add(&name, line, &event, key.as_ref(), &mut batch).await?;
                }
                Content::Keyed(event, key) => {
                    self.add(&name, line, &event, Some(&Key::Given(key)), &mut batch).await?;
                }
                Content::NotAPageView => self.tally.not_page_views += 1,
                Content::Unreadable(reason) => self
                    .rejects
                    .note(&name, line, &reason)
                    .map_err(|error| stop(&batch, line, Cause::Rejects(error)))?,
            }
        }
        self.rejects.end_file(&name).map_err(|error| stop(&batch, line, Cause::Rejects(error)))?;
        if batch.is_empty() { Ok(()) } else { self.send(batch).await }
    }

    /// Begins to read a file, with the names of its lines if they are to have any.
    fn open(&self, source: &Source) -> io::Result<(Box<dyn Read>, Option<LineKeys>)> {
        let reader = Box::new(self.progress.watch(source.open()?));
        Ok(match &self.options.keys {
            Keys::None => (reader, None),
            Keys::OfLines(id) => {
                let (keys, reader) = LineKeys::of(reader, &self.options.format, id.as_deref())?;
                (reader, Some(keys))
            }
        })
    }

    async fn add(
        &mut self,
        name: &str,
        line: u64,
        event: &Event,
        key: Option<&Key>,
        batch: &mut Batch,
    ) -> Result<(), EndedEarly> {
        self.suspect(name, line, event.at);
        if !batch.push(line, event, key, self.options.batch_size) {
            self.send(std::mem::take(batch)).await?;
            let pushed = batch.push(line, event, key, self.options.batch_size);
            assert!(pushed, "one event is within the limits of a batch");
        }
        Ok(())
    }

    /// Sends a batch, once few enough wait for their answers. After one that was not acknowledged nothing more is sent.
    async fn send(&mut self, batch: Batch) -> Result<(), EndedEarly> {
        while self.under_way.len() >= MAX_UNDER_WAY
            && let Some(answered) = self.under_way.join_next().await
        {
            self.note(answered.expect("sending a batch does not panic"));
        }
        while let Some(answered) = self.under_way.try_join_next() {
            self.note(answered.expect("sending a batch does not panic"));
        }
        if !self.failed.is_empty() {
            return Err(EndedEarly { cause: None, first_unsent: batch.lines()[0] });
        }
        let (server, progress, interruption) = (self.server.clone(), self.progress.clone(), self.interruption.clone());
        let exists = self.tally.acknowledged.events() > 0;
        self.under_way.spawn(async move {
            let tell = |line: &str| progress.tell(line);
            let outcome = deliver(&server, &batch, exists, &interruption, tell).await;
            Answered { batch, outcome }
        });
        Ok(())
    }

    fn note(&mut self, Answered { batch, outcome }: Answered) {
        match outcome {
            Ok(delivery) => {
                if delivery == Delivery::Spooled {
                    self.spooled += batch.lines().len() as u64;
                }
                self.tally.add(&batch);
                self.progress.stored(self.tally.acknowledged.events());
            }
            Err(error) => self.failed.push((batch, error)),
        }
    }

    /// Why the import stops after a file, and which of its lines are not known to be stored; none if it goes on.
    fn what_stopped(&mut self, ended_early: Option<EndedEarly>) -> Option<(Cause, Vec<Gap>)> {
        let mut failed = std::mem::take(&mut self.failed);
        failed.sort_by_key(|(batch, _)| batch.lines()[0]);
        let mut gaps: Vec<Gap> = failed.iter().map(|(batch, error)| Gap::of(batch, error)).collect();
        let mut cause = None;
        if let Some(EndedEarly { cause: why, first_unsent }) = ended_early {
            gaps.push(Gap::unsent(first_unsent));
            cause = why;
        }
        if let Some((batch, error)) = failed.into_iter().next() {
            let line = match &error {
                ServerError::Refused { problem, .. } => line_of_event(&batch, problem.line),
                _ => None,
            };
            // What somebody did who wanted it to stop is no news to them; what the server said is.
            cause = Some(Cause::Server { error, line });
        }
        Some((cause?, Gap::joined(gaps)))
    }

    fn suspect(&mut self, source: &str, line: u64, at: Timestamp) {
        if self.suspect.is_none() {
            self.suspect = seconds_suspicion(at).map(|suspicion| format!("{source}:{line}: timestamp {suspicion}"));
        }
    }
}

/// The line of the file that a line of a batch came from; both are counted from 1.
fn line_of_event(batch: &Batch, line: Option<u64>) -> Option<u64> {
    let position = usize::try_from(line?.checked_sub(1)?).ok()?;
    batch.lines().get(position).copied()
}
