//! Reads files of events and sends them in batches, several at a time, each event under an idempotency key made from
//! its line's number. So an import that was interrupted can be repeated, and counts nothing twice.
//!
//! `source` opens a file, `line_keys` makes the keys of its lines, the crate `event-files` reads the events, `batch`
//! collects them, `delivery` sends them. Lines that cannot be read go to `rejects`, the `tally` counts acknowledged
//! events, and `stopped` reports an import that stops early.

mod batch;
mod delivery;
mod interruption;
mod line_keys;
mod progress;
mod rejects;
mod source;
mod stopped;
mod tally;

use std::{path::PathBuf, process::ExitCode};

use client::{Client, ClientError, Delivery};
use event_files::{Content, FormatChoice, ReadError, Reading, Record, Records, text_of};
use model::{IdempotencyKey, wire::SentEvent};
use tokio::task::JoinSet;

pub(crate) use self::source::Source;
use self::{
    batch::Batch,
    delivery::deliver,
    interruption::Interruption,
    line_keys::LineKeys,
    progress::Progress,
    rejects::Rejects,
    stopped::{Cause, Gap, Stopped},
    tally::Tally,
};
use crate::{failure::Failure, output};

/// The most requests in flight. The daemon stores those that arrive during a commit together in the next one.
const MAX_IN_FLIGHT: usize = 8;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) reading: Reading,
    /// The most events of one request.
    pub(crate) batch_size: usize,
    /// The file for lines that cannot be read.
    pub(crate) rejects: Option<PathBuf>,
    /// The first line of the first file to import, counted from 1.
    pub(crate) from_line: u64,
    pub(crate) keys: Keys,
}

/// Where the idempotency keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Made from the beginning of the file, the line number, and this name if it is given.
    OfLines(Option<String>),
    /// The file only.
    None,
}

/// Prints the result, also when the import stops early.
pub(crate) async fn run(client: &Client, sources: &[Source], options: Options) -> Result<ExitCode, Failure> {
    check_beginnings(sources, &options.reading)?;
    let mut import = Import {
        client,
        rejects: Rejects::begin(options.rejects.as_deref(), sources)?,
        progress: Progress::begin(sources.iter().map(Source::bytes).sum()),
        interruption: Interruption::listen(),
        tally: Tally::default(),
        spooled: 0,
        in_flight: JoinSet::new(),
        failed: Vec::new(),
        options,
    };
    let stopped = import.all(sources).await.err();
    import.progress.clear();
    import.tally.unreadable = import.rejects.total();
    let printed = output::print(&import.tally.summary(output::palette()));
    import.rejects.print();
    if import.spooled > 0 {
        output::message(&format!(
            "{} of these events are not stored yet: the server's database is away; they are stored when it is back",
            import.spooled
        ));
    }
    if let Some(stopped) = stopped {
        return Err((*stopped).into());
    }
    printed?;
    Ok(if import.rejects.total() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Import<'a> {
    client: &'a Client,
    options: Options,
    rejects: Rejects,
    progress: Progress,
    interruption: Interruption,
    tally: Tally,
    /// How many events the server accepted while its database was away.
    spooled: u64,
    /// The batches of this file that wait for their answers.
    in_flight: JoinSet<Answered>,
    /// The batches of this file that were not acknowledged, and why.
    failed: Vec<(Batch, ClientError)>,
}

struct Answered {
    batch: Batch,
    outcome: Result<Delivery, ClientError>,
}

/// Where the reading of a file ended before its end.
struct EndedEarly {
    /// None if a batch failed.
    cause: Option<Cause>,
    /// The first line that was not sent.
    first_unsent: u64,
}

impl Import<'_> {
    async fn all(&mut self, sources: &[Source]) -> Result<(), Box<Stopped>> {
        for (position, source) in sources.iter().enumerate() {
            let from_line = if position == 0 { self.options.from_line } else { 1 };
            let ended_early = self.read(source, from_line).await.err();
            // The answers to earlier requests come first, whatever ended the reading.
            while let Some(answered) = self.in_flight.join_next().await {
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

    /// A batch never spans files, so that a file name and two line numbers describe its content.
    async fn read(&mut self, source: &Source, from_line: u64) -> Result<(), EndedEarly> {
        let name = source.name();
        let mut batch = Batch::default();
        let stop = |batch: &Batch, line, cause| EndedEarly {
            cause: Some(cause),
            first_unsent: batch.lines().first().copied().unwrap_or(line),
        };
        let opened = self.open(source).map_err(|error| stop(&batch, from_line, Cause::Read(error)));
        let (mut records, keys) = opened?;
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
                Content::Event(read) => {
                    let key = keys.as_ref().map(|keys| keys.line(line));
                    self.add(line, &read, key.as_ref(), &mut batch).await?;
                }
                Content::LeftOut(reason) => self.tally.leave_out(reason),
                Content::Unreadable(reason)
                    if reason.is_of_unknown_unit() && self.has_sent_nothing() && batch.is_empty() =>
                {
                    return Err(stop(&batch, line, Cause::UnknownUnit(reason)));
                }
                Content::Unreadable(reason) => {
                    self.rejects
                        .add(&name, line, &reason)
                        .map_err(|error| stop(&batch, line, Cause::Rejects(error)))?;
                }
            }
        }
        self.rejects.end_file(&name).map_err(|error| stop(&batch, line, Cause::Rejects(error)))?;
        if batch.is_empty() { Ok(()) } else { self.send(batch).await }
    }

    fn open(&self, source: &Source) -> Result<(Records, Option<LineKeys>), ReadError> {
        let mut text = text_of(self.progress.watch(source.open()?))?;
        let keys = match &self.options.keys {
            Keys::None => None,
            Keys::OfLines(id) => {
                let keys;
                (keys, text) = LineKeys::of(text, id.as_deref())?;
                Some(keys)
            }
        };
        let records = Records::open(text, &self.options.reading)?;
        if let (FormatChoice::Auto, Some(format)) = (&self.options.reading.format, records.format()) {
            self.progress.message(&format!("{}: read as {format}", source.name()));
        }
        Ok((records, keys))
    }

    fn has_sent_nothing(&self) -> bool {
        self.tally.acknowledged.events() == 0 && self.in_flight.is_empty() && self.failed.is_empty()
    }

    async fn add(
        &mut self,
        number: u64,
        line: &SentEvent,
        key: Option<&IdempotencyKey>,
        batch: &mut Batch,
    ) -> Result<(), EndedEarly> {
        if !batch.push(number, line, key, self.options.batch_size) {
            self.send(std::mem::take(batch)).await?;
            let pushed = batch.push(number, line, key, self.options.batch_size);
            assert!(pushed, "one event is within the limits of a batch");
        }
        Ok(())
    }

    /// Waits until few enough requests are in flight. After a batch that failed, nothing more is sent.
    async fn send(&mut self, batch: Batch) -> Result<(), EndedEarly> {
        while self.in_flight.len() >= MAX_IN_FLIGHT
            && let Some(answered) = self.in_flight.join_next().await
        {
            self.note(answered.expect("sending a batch does not panic"));
        }
        while let Some(answered) = self.in_flight.try_join_next() {
            self.note(answered.expect("sending a batch does not panic"));
        }
        if !self.failed.is_empty() {
            return Err(EndedEarly { cause: None, first_unsent: batch.lines()[0] });
        }
        let (client, progress, interruption) = (self.client.clone(), self.progress.clone(), self.interruption.clone());
        let was_reached = self.tally.acknowledged.events() > 0;
        self.in_flight.spawn(async move {
            let report = |line: &str| progress.message(line);
            let outcome = deliver(&client, &batch, was_reached, &interruption, report).await;
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

    /// Why the import stops after this file, and which of its lines may not be stored; none if it continues.
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
                ClientError::Refused { problem, .. } => line_of_event(&batch, problem.line),
                _ => None,
            };
            // After Ctrl-C, an error of the server is still worth reporting.
            cause = Some(Cause::Server { error, line });
        }
        Some((cause?, Gap::joined(gaps)))
    }
}

/// Looks at the first record of each file, so that nothing is sent of any if one cannot be read at all.
fn check_beginnings(sources: &[Source], reading: &Reading) -> Result<(), Failure> {
    // Others cannot be read twice.
    for source in sources.iter().filter(|source| source.bytes().is_some()) {
        let first = source.open().map_err(ReadError::from).and_then(|file| Records::open(file, reading)?.next());
        let fault = match first {
            Ok(Some(Record { content: Content::Unreadable(reason), line })) if reason.is_of_unknown_unit() => {
                format!("{}:{line}: {}", source.name(), Cause::UnknownUnit(reason))
            }
            Ok(_) => continue,
            Err(error) => format!("{}: {error}", source.name()),
        };
        return Err(Failure::CannotRun(format!("{fault}; nothing was imported")));
    }
    Ok(())
}

/// The line of the file that a line of a batch came from; both are counted from 1.
fn line_of_event(batch: &Batch, line: Option<u64>) -> Option<u64> {
    let position = usize::try_from(line?.checked_sub(1)?).ok()?;
    batch.lines().get(position).copied()
}
