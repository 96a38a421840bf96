//! Reads files of events and sends them in batches, several at a time, each as a part of an ordered source. The server
//! stores how far each source is stored with the events, so that an import may be cut anywhere and made again.
//!
//! `input` opens a file, `beginning` names the source that it may be and `standing` tells which it is; `reader` does both on
//! a thread, reads the events through the crate `event-files`, and collects them in a `batch`; `delivery` sends them. Lines
//! that cannot be read go to `rejects`, the `tally` counts events, and `stopped` reports an import that stops early. `follow`
//! reads logs that grow, and `lag` tells how far behind it is.

mod batch;
mod beginning;
mod delivery;
mod follow;
mod input;
mod interruption;
mod lag;
mod progress;
mod reader;
mod rejects;
mod standing;
mod stopped;
mod tally;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use client::{Client, ClientError, Delivery, Repeated};
use event_files::{Content, ReadError, Reading, Record, Records};
use futures_util::future::join_all;
use model::Timestamp;
use tokio::{
    sync::{Mutex, mpsc::Receiver},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

pub(crate) use self::input::Input;
use self::{
    batch::Batch,
    delivery::{Patience, Pauses, Stops},
    follow::{Following, rotated},
    interruption::Interruption,
    lag::Lag,
    progress::Progress,
    reader::{Collecting, End, Fault, How, Message, Naming},
    rejects::Rejects,
    stopped::{Cause, Gap, Stopped},
    tally::Tally,
};
use crate::{failure::Failure, output};

/// The most requests in flight. The daemon stores those that arrive during a commit together in the next one.
const MAX_IN_FLIGHT: usize = 8;
/// How long an event waits for others to fill its batch, and how often that is looked at.
const LONGEST_GATHERING: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);
/// How often a file is tried again that another program sends at the same time.
const MOST_ATTEMPTS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) reading: Reading,
    /// The most events of one request.
    pub(crate) batch_size: usize,
    /// The file for lines that cannot be read.
    pub(crate) rejects: Option<PathBuf>,
    /// The first line of the first file to import, counted from 1.
    pub(crate) from_line: u64,
    pub(crate) source: SourceChoice,
    /// The file for the metrics of files that are followed.
    pub(crate) metrics: Option<PathBuf>,
    pub(crate) follow: bool,
}

/// Whether a file is a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// It is, and named by its beginning and by this name if it is given.
    Named(Option<String>),
    /// It is not: its events are stored as often as they are sent.
    None,
}

/// Prints the result, also when the import stops early.
pub(crate) async fn run(client: &Client, inputs: &[Input], options: Options) -> Result<ExitCode, Failure> {
    check_beginnings(inputs, &options.reading)?;
    let rejects = Arc::new(Mutex::new(Rejects::begin(options.rejects.as_deref(), inputs)?));
    let progress = Progress::begin(inputs.iter().map(Input::bytes).sum());
    let interruption = Interruption::listen();
    let host = hostname();
    let how = |place: usize| How {
        follows: None,
        reading: options.reading.clone(),
        batch_size: options.batch_size,
        from_line: if place == 0 { options.from_line } else { 1 },
        source: match &options.source {
            SourceChoice::Named(id) => Some(Naming { id: id.clone(), host: host.clone() }),
            SourceChoice::None => None,
        },
        only_known: false,
    };
    let begin = || Import::begin(client, &rejects, &progress, &interruption);
    let (mut tally, spooled, stopped) = if options.follow {
        let lag = Lag::begin(options.metrics.as_deref())?;
        let follow_one = async |input: &Input| {
            let mut import = begin();
            let stopped = import.follow(input, how(0), &lag).await.err();
            (import.tally, import.spooled, stopped)
        };
        let followed = join_all(inputs.iter().map(follow_one)).await;
        lag.write();
        followed.into_iter().fold((Tally::default(), 0, None), |(mut all, spooled, stopped), (tally, more, stops)| {
            all.join(tally);
            (all, spooled + more, stopped.or(stops))
        })
    } else {
        let mut import = begin();
        let stopped = import.all(inputs, how).await.err();
        (import.tally, import.spooled, stopped)
    };
    progress.clear();
    let rejects = rejects.lock().await;
    tally.unreadable = rejects.total();
    let printed = output::print(&tally.summary(output::palette()));
    rejects.print();
    if spooled > 0 {
        output::message(&format!(
            "{spooled} of these events are not stored yet: the server's database is away; they are stored when it is back"
        ));
    }
    if let Some(stopped) = stopped {
        return Err((*stopped).into());
    }
    printed?;
    Ok(if rejects.total() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of this machine, to tell its files from those of others at the same place.
fn hostname() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// One import after the other, or that of one file that is followed.
struct Import<'a> {
    client: &'a Client,
    rejects: Arc<Mutex<Rejects>>,
    progress: Progress,
    interruption: Interruption,
    /// Raised when a batch fails: those behind it wait for nothing.
    given_up: Interruption,
    tally: Tally,
    /// How many events the server accepted while its database was away.
    spooled: u64,
    /// The batches of this file that wait for their answers.
    in_flight: JoinSet<Answered>,
    /// The batches of this file that were not acknowledged, and why.
    failed: Vec<(Batch, ClientError)>,
    /// The end of the last batch that was certainly of this file's content, and of the last that the server knew already.
    ends: Ends,
    /// When the batches in flight were sent, by where they begin.
    under_way: BTreeMap<u64, Instant>,
    was_reached: bool,
}

/// A log that is read as it grows.
struct Followed<'a> {
    following: Following,
    lag: lag::OfFile<'a>,
}

/// What came of a file so far.
#[derive(Default)]
struct Seen {
    /// Whether events that were stored before count as repeated.
    tells_stored: bool,
    events: bool,
    unreadable: bool,
}

/// Ends of batches of a source, as positions.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ends {
    /// The server compared the content up to here.
    compared: u64,
    /// The server stands behind this one, and did not compare.
    assumed: u64,
}

struct Answered {
    batch: Batch,
    /// The lines that the server did not accept, each with the reason.
    refused: Vec<(u64, String)>,
    outcome: Result<Delivery, ClientError>,
}

/// How one file went.
struct Went {
    ended: Result<End, Cause>,
    /// The first line that was not sent; none if all were.
    first_unsent: Option<u64>,
}

impl<'a> Import<'a> {
    fn begin(
        client: &'a Client,
        rejects: &Arc<Mutex<Rejects>>,
        progress: &Progress,
        interruption: &Interruption,
    ) -> Self {
        Self {
            client,
            rejects: Arc::clone(rejects),
            progress: progress.clone(),
            interruption: interruption.clone(),
            given_up: Interruption::of_a_part(),
            tally: Tally::default(),
            spooled: 0,
            in_flight: JoinSet::new(),
            failed: Vec::new(),
            ends: Ends::default(),
            under_way: BTreeMap::new(),
            was_reached: false,
        }
    }

    async fn all(&mut self, inputs: &[Input], how: impl Fn(usize) -> How) -> Result<(), Box<Stopped>> {
        for (position, input) in inputs.iter().enumerate() {
            let how = how(position);
            let can_repeat = how.source.is_some();
            let Err((cause, gaps)) = self.file(input, &how).await else { continue };
            return Err(Box::new(Stopped {
                cause,
                source: input.name(),
                files_left: inputs.len() - position - 1,
                acknowledged: self.tally.acknowledged(),
                gaps,
                can_repeat,
            }));
        }
        Ok(())
    }

    /// Imports a file to its end, and again from where it stands if another program moved it meanwhile.
    async fn file(&mut self, input: &Input, how: &How) -> Result<(), (Cause, Vec<Gap>)> {
        let name = input.name();
        for attempt in 1.. {
            let went = self.once(input, how, attempt == 1, None).await;
            if self.stands_elsewhere() && input.is_file() && how.source.is_some() && attempt < MOST_ATTEMPTS {
                self.failed.clear();
                continue;
            }
            if let Ok(end) = &went.ended
                && end.is_unfinished
            {
                self.tally.unfinished += 1;
                self.progress.message(&format!(
                    "{name}: its last line has no end yet and waits for the next import; --complete imports it now"
                ));
            }
            return self.what_stopped(went).map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Imports a log as it grows, until the program is interrupted.
    async fn follow(&mut self, input: &Input, how: How, lag: &Lag) -> Result<(), Box<Stopped>> {
        let Input::File { path, .. } = input else { return Ok(()) };
        let followed = Followed { following: Following::default(), lag: lag.of_file(path) };
        let how = How { follows: Some(followed.following.clone()), ..how };
        let mut attempt = 0;
        while !self.interruption.happened() {
            self.finish_rotated(path, &how).await?;
            let went = self.once(input, &how, attempt == 0, Some(&followed)).await;
            attempt = if self.stands_elsewhere() { attempt + 1 } else { 0 };
            if (1..MOST_ATTEMPTS).contains(&attempt) {
                self.failed.clear();
                continue;
            }
            if let Some((cause, gaps)) = self.what_stopped(went) {
                return Err(self.stopped(input, cause, gaps));
            }
        }
        Ok(())
    }

    fn stopped(&self, input: &Input, cause: Cause, gaps: Vec<Gap>) -> Box<Stopped> {
        let acknowledged = self.tally.acknowledged();
        Box::new(Stopped { cause, source: input.name(), files_left: 0, acknowledged, gaps, can_repeat: true })
    }

    /// Imports what is left of the files that a log was rotated to, if a part of them was imported before.
    async fn finish_rotated(&mut self, path: &Path, how: &How) -> Result<(), Box<Stopped>> {
        for path in rotated(path) {
            let Ok(input) = Input::find(path) else { continue };
            let reading = Reading { leaves_unfinished: false, ..how.reading.clone() };
            let how = How { follows: None, reading, only_known: true, ..how.clone() };
            if let Err((cause, gaps)) = self.file(&input, &how).await {
                match cause {
                    // It is no log, or another one.
                    Cause::Fault(Fault::Read(_) | Fault::Changed(_) | Fault::TooManyAlike) => {}
                    cause => return Err(self.stopped(&input, cause, gaps)),
                }
            }
        }
        Ok(())
    }

    /// Reads a file to its end and sends what it has. A batch never spans files, so that a file name and two line numbers
    /// describe its content.
    async fn once(&mut self, input: &Input, how: &How, is_first: bool, followed: Option<&Followed<'_>>) -> Went {
        self.given_up = Interruption::of_a_part();
        self.ends = Ends::default();
        self.under_way.clear();
        let name = input.name();
        let (collecting, mut messages) =
            reader::read(input.clone(), how.clone(), self.client.clone(), self.stops(), self.progress.clone());
        let mut seen = Seen { tells_stored: is_first && !how.only_known, ..Seen::default() };
        let mut ended = self.pump(&name, &collecting, &mut messages, &mut seen, followed).await;
        let unsent = match collecting.take() {
            // Nothing of it was read as an event, so that it may be read another way the next time.
            Some(batch) if batch.is_empty() && !seen.events && seen.unreadable => {
                self.tally.leave_out(&batch);
                None
            }
            Some(batch) if ended.is_ok() && self.failed.is_empty() => {
                self.send(batch, &name, followed.is_some()).await;
                None
            }
            rest => rest,
        };
        messages.close();
        let waiting = std::iter::from_fn(|| messages.try_recv().ok());
        let waiting =
            waiting.filter_map(|message| if let Message::Batch(batch) = message { Some(batch) } else { None });
        let first_unsent = waiting.chain(unsent).filter_map(|batch| batch.lines().first().copied()).min();
        while let Some(answered) = self.in_flight.join_next().await {
            self.note(answered, &name).await;
        }
        if let Some(followed) = followed {
            followed.lag.note(self.ends, None, &self.tally);
        }
        if let Err(error) = self.rejects.lock().await.end_file(&name)
            && ended.is_ok()
        {
            ended = Err(Cause::Rejects(error));
        }
        let first_unsent = if ended.is_err() { first_unsent.or(Some(collecting.line())) } else { first_unsent };
        Went { ended, first_unsent }
    }

    /// Sends what a thread reads, until it ends.
    async fn pump(
        &mut self,
        name: &str,
        collecting: &Collecting,
        messages: &mut Receiver<Message>,
        seen: &mut Seen,
        followed: Option<&Followed<'_>>,
    ) -> Result<End, Cause> {
        let interruption = self.interruption.clone();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_interrupted = false;
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                () = interruption.happens(), if !was_interrupted => {
                    was_interrupted = true;
                    match followed {
                        // What it has read is sent.
                        Some(followed) => followed.following.end(),
                        None => return Err(Cause::Interrupted),
                    }
                    continue;
                }
                Some(answered) = self.in_flight.join_next() => {
                    self.note(answered, name).await;
                    if !self.failed.is_empty() {
                        return Ok(End::default());
                    }
                    continue;
                }
                _ = look.tick() => {
                    if let Some(batch) = collecting.take_older_than(LONGEST_GATHERING) {
                        seen.events = true;
                        self.send(batch, name, followed.is_some()).await;
                    }
                    if let Some(followed) = followed {
                        let oldest = self.under_way.values().copied().chain(collecting.since()).min();
                        followed.lag.note(self.ends, oldest, &self.tally);
                    }
                    continue;
                }
            };
            match message {
                Some(Message::Batch(batch)) => {
                    seen.events = true;
                    self.send(batch, name, followed.is_some()).await;
                    if !self.failed.is_empty() {
                        return Ok(End::default());
                    }
                }
                Some(Message::Format(format)) => self.progress.message(&format!("{name}: read as {format}")),
                Some(Message::Stored(events)) if seen.tells_stored => self.tally.repeated += events,
                Some(Message::Stored(_)) => {}
                Some(Message::Unreadable(line, reason)) => {
                    seen.unreadable = true;
                    self.reject(name, line, &reason).await?;
                }
                Some(Message::End(ended)) => return ended.map_err(Cause::Fault),
                None => return Ok(End::default()),
            }
        }
    }

    async fn reject(&self, name: &str, line: u64, reason: &(dyn Display + Sync)) -> Result<(), Cause> {
        self.rejects.lock().await.add(name, line, reason).map_err(Cause::Rejects)
    }

    /// Waits until few enough requests are in flight. After a batch that failed, nothing more is sent.
    async fn send(&mut self, batch: Batch, name: &str, is_followed: bool) {
        if batch.is_empty() && batch.step().is_none() {
            return self.tally.leave_out(&batch);
        }
        while self.in_flight.len() >= MAX_IN_FLIGHT
            && let Some(answered) = self.in_flight.join_next().await
        {
            self.note(answered, name).await;
        }
        if let Some(step) = batch.step() {
            self.under_way.insert(step.from.position, Instant::now());
        }
        let patience = Patience {
            can_repeat: batch.can_repeat(),
            was_reached: self.was_reached,
            is_endless: is_followed,
            from: batch.step().map(|step| step.from.position),
        };
        let (client, progress, stops) = (self.client.clone(), self.progress.clone(), self.stops());
        self.in_flight.spawn(async move {
            let mut batch = batch;
            let mut refused = Vec::new();
            let mut pauses = Pauses::new(patience, &stops, &progress);
            loop {
                let outcome = client.send_batch(batch.body(), batch.step()).await;
                // What follows a log must not stand still at one line.
                if is_followed
                    && let Err(ClientError::Refused { problem, .. }) = &outcome
                    && let Some(place) = problem.line.filter(|_| problem.status == 400)
                {
                    let is_of_hour = problem.parameter.as_deref() == Some(Timestamp::PARAMETER);
                    let lines = batch.leave_out_refused(place, is_of_hour);
                    if !lines.is_empty() {
                        refused.extend(
                            lines.into_iter().map(|line| (line, format!("was not accepted: {}", problem.detail))),
                        );
                        continue;
                    }
                }
                let outcome = match outcome {
                    Ok(delivery) => Ok(delivery),
                    Err(error) => match pauses.after(error).await {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                };
                return Answered { batch, refused, outcome };
            }
        });
    }

    fn stops(&self) -> Stops {
        Stops { interruption: self.interruption.clone(), given_up: self.given_up.clone() }
    }

    async fn note(&mut self, answered: Result<Answered, JoinError>, name: &str) {
        let Answered { batch, refused, outcome } = answered.expect("sending a batch does not panic");
        for (line, reason) in refused {
            // The file of rejected lines was written before; its last error is reported at its end.
            let _ = self.reject(name, line, &reason).await;
        }
        if let Some(step) = batch.step() {
            self.under_way.remove(&step.from.position);
        }
        let repeated = match outcome {
            Ok(Delivery::Stored(repeated)) => repeated,
            Ok(Delivery::Spooled) => {
                self.spooled += batch.lines().len() as u64;
                Repeated::default()
            }
            Err(error) => {
                self.given_up.raise();
                return self.failed.push((batch, error));
            }
        };
        self.was_reached = true;
        if let Some(step) = batch.step() {
            let end = if repeated.stands_at.is_some() { &mut self.ends.assumed } else { &mut self.ends.compared };
            *end = (*end).max(step.to.position);
        }
        self.tally.add(&batch, repeated);
        self.progress.stored(self.tally.acknowledged());
    }

    /// Whether another program moved the source, so that it is to be looked at again where it stands.
    fn stands_elsewhere(&self) -> bool {
        let is_elsewhere = |error: &ClientError| matches!(error, ClientError::Refused { problem, .. } if problem.status == 409 && problem.position.is_some());
        let first = self.failed.iter().min_by_key(|(batch, _)| batch.step().map(|step| step.from.position));
        match first {
            Some((_, error)) => is_elsewhere(error),
            None => self.ends.assumed > self.ends.compared,
        }
    }

    /// Why the import stops after this file, and which of its lines may not be stored; none if it continues.
    fn what_stopped(&mut self, Went { ended, first_unsent }: Went) -> Option<(Cause, Vec<Gap>)> {
        let mut failed = std::mem::take(&mut self.failed);
        failed.sort_by_key(|(batch, _)| batch.lines().first().copied());
        let mut gaps: Vec<Gap> = failed.iter().map(|(batch, error)| Gap::of(batch, error)).collect();
        gaps.extend(first_unsent.map(Gap::unsent));
        let mut cause = ended.err();
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
fn check_beginnings(inputs: &[Input], reading: &Reading) -> Result<(), Failure> {
    // Others cannot be read twice.
    for input in inputs.iter().filter(|input| input.is_file()) {
        let first = input.open().map_err(ReadError::from).and_then(|file| Records::open(file, reading)?.next());
        let fault = match first {
            Ok(Some(Record { content: Content::Unreadable(reason), line })) if reason.is_of_unknown_unit() => {
                format!("{}:{line}: {}", input.name(), Fault::UnknownUnit(reason))
            }
            Ok(_) => continue,
            Err(error) => format!("{}: {error}", input.name()),
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
