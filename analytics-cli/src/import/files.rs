//! Goes through files, or follows one, and decides what comes after each.

use std::{
    fmt::Display,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use client::ClientError;
use event_files::{ReadError, Reading};
use tokio::{
    sync::mpsc::Receiver,
    time::{MissedTickBehavior, interval},
};

use super::{
    Ends, Import, Input,
    batch::Batch,
    collecting::Collecting,
    delivery::UnderWay,
    fault::Fault,
    follow::{Following, rotated},
    interruption::Interruption,
    lag::{self, Lag},
    reader::{self, End, How, Message},
    stopped::{Cause, Gap, Stopped},
};

/// How long an event waits for others to fill its batch, and how often that is looked at.
const LONGEST_GATHERING: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);
/// How often a file is tried again that another program sends at the same time.
const MOST_ATTEMPTS: u32 = 8;

/// A log that is read as it grows.
struct Followed<'a> {
    following: Following,
    lag: &'a lag::OfFile<'a>,
}

/// What came of a file so far.
#[derive(Default)]
struct Seen {
    events: bool,
    unreadable: bool,
    /// Whether all of it was read.
    has_ended: bool,
}

/// How one file went.
struct Went {
    ended: Result<End, Cause>,
    /// The first line that was not sent; none if all were.
    first_unsent: Option<u64>,
}

impl Went {
    fn was_not_there(&self) -> bool {
        matches!(&self.ended, Err(Cause::Fault(Fault::Read(ReadError::Io(error)))) if error.kind() == ErrorKind::NotFound)
    }
}

impl Import<'_> {
    pub(super) async fn all(&mut self, inputs: &[Input], how: impl Fn(usize) -> How) -> Result<(), Box<Stopped>> {
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
    async fn file(&mut self, input: &Input, how: &How) -> Result<End, (Cause, Vec<Gap>)> {
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
            let end = went.ended.as_ref().copied().unwrap_or_default();
            return self.what_stopped(went).map_or(Ok(end), Err);
        }
        Ok(End::default())
    }

    /// Imports a log as it grows, until the program is interrupted.
    pub(super) async fn follow(&mut self, input: &Input, how: How, lag: &Lag) -> Result<(), Box<Stopped>> {
        let Input::File { path, .. } = input else { return Ok(()) };
        let lag = lag.of_file(path);
        let mut attempt = 0;
        while !self.interruption.happened() {
            self.finish_rotated(path, &how).await?;
            // One for each time, so that the thread of the last time ends with it.
            let followed = Followed { following: Following::default(), lag: &lag };
            let how = How { follows: Some(followed.following.clone()), ..how.clone() };
            let went = self.once(input, &how, attempt == 0, Some(&followed)).await;
            followed.following.end();
            if self.interruption.happened() && went.was_not_there() {
                break;
            }
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

    /// Imports what is left of the files that a log was rotated to: from the first one on of which a part was imported before.
    async fn finish_rotated(&mut self, log: &Path, how: &How) -> Result<(), Box<Stopped>> {
        let mut is_known = false;
        for path in rotated(log) {
            let Ok(input) = Input::find(path) else { continue };
            let reading = Reading { leaves_unfinished: false, ..how.reading.clone() };
            let how =
                How { follows: None, reading, only_known: !is_known, rotated_from: Some(place_of(log)), ..how.clone() };
            match self.file(&input, &how).await {
                Ok(end) => is_known |= !end.is_unknown,
                // It is no log, or another one.
                Err((Cause::Fault(Fault::Read(_) | Fault::Changed(_) | Fault::TooManyAlike), _)) => {}
                // The rest waits for the next time.
                Err((Cause::Interrupted, _)) => break,
                Err((cause, gaps)) => return Err(self.stopped(&input, cause, gaps)),
            }
        }
        Ok(())
    }

    /// Reads a file to its end and sends what it has. A batch never spans files, so that a file name and two line numbers
    /// describe its content.
    async fn once(&mut self, input: &Input, how: &How, is_first: bool, followed: Option<&Followed<'_>>) -> Went {
        self.given_up = Interruption::of_a_part();
        self.ends = Ends::default();
        self.under_way = UnderWay::default();
        self.sent_to = 0;
        let name = input.name();
        let (collecting, mut messages) =
            reader::read(input.clone(), how.clone(), self.client.clone(), self.stops(), self.progress.clone());
        let mut seen = Seen::default();
        let mut is_whole = true;
        let mut ended = self.pump((&name, how, is_first), &collecting, &mut messages, &mut seen, followed).await;
        match collecting.take() {
            // Nothing of it was read as an event, so that it may be read another way the next time.
            Some(batch) if batch.is_empty() && !seen.events && seen.unreadable => self.tally.leave_out(&batch),
            Some(batch) if ended.is_ok() && self.failed.is_empty() => self.send(batch, &name, how).await,
            Some(_) => is_whole = false,
            None => {}
        }
        drop(messages);
        while let Some(answered) = self.in_flight.join_next().await {
            self.note(answered, &name).await;
        }
        if let Some(followed) = followed {
            followed.lag.note(self.ends.compared, None, &self.tally);
        }
        if let Err(error) = self.rejects.lock().await.end_file(&name)
            && ended.is_ok()
        {
            ended = Err(Cause::Rejects(error));
        }
        let first_unsent = (!is_whole || !seen.has_ended).then_some(self.sent_to + 1);
        Went { ended, first_unsent }
    }

    /// Sends what a thread reads, until it ends.
    async fn pump(
        &mut self,
        (name, how, is_first): (&str, &How, bool),
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
                        self.send(batch, name, how).await;
                    }
                    if let Some(followed) = followed {
                        let oldest = self.under_way.oldest().into_iter().chain(collecting.since()).min();
                        let waits_for_nothing = oldest.is_none().then(|| collecting.position()).flatten();
                        followed.lag.note(waits_for_nothing.unwrap_or(self.ends.compared), oldest, &self.tally);
                    }
                    continue;
                }
            };
            match message {
                Some(Message::Batch(batch)) => {
                    seen.events = true;
                    self.send(batch, name, how).await;
                    if !self.failed.is_empty() {
                        return Ok(End::default());
                    }
                }
                Some(Message::Format(format)) => self.progress.message(&format!("{name}: read as {format}")),
                Some(Message::StandsAt(position)) => self.ends.compared = position,
                Some(Message::Stored(stored)) if is_first && how.rotated_from.is_none() => {
                    self.tally.join(stored);
                }
                Some(Message::Stored(_)) => {}
                Some(Message::Unreadable(line, reason)) => {
                    seen.unreadable = true;
                    self.reject(name, line, &reason).await?;
                }
                Some(Message::End(ended)) => {
                    seen.has_ended = ended.is_ok();
                    return ended.map_err(Cause::Fault);
                }
                None => return Ok(End::default()),
            }
        }
    }

    pub(super) async fn reject(&self, name: &str, line: u64, reason: &(dyn Display + Sync)) -> Result<(), Cause> {
        self.rejects.lock().await.add(name, line, reason).map_err(Cause::Rejects)
    }

    /// Why the import stops after this file, and which of its lines may not be stored; none if it continues.
    fn what_stopped(&mut self, Went { ended, first_unsent }: Went) -> Option<(Cause, Vec<Gap>)> {
        let mut failed = std::mem::take(&mut self.failed);
        failed.sort_by_key(|(batch, _)| batch.lines().first().copied());
        let mut gaps: Vec<Gap> = failed.iter().map(|(batch, error)| Gap::of(batch, error)).collect();
        gaps.extend(first_unsent.map(Gap::unsent));
        let mut cause = ended.err();
        if cause.is_none() && failed.is_empty() && self.ends.assumed > self.ends.compared {
            cause = Some(Cause::Fault(Fault::NotCompared));
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

/// The place of a log that may not be there at this moment.
fn place_of(log: &Path) -> PathBuf {
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(log), fs::canonicalize(folder), log.file_name()) {
        (Ok(place), ..) => place,
        (Err(_), Ok(folder), Some(name)) => folder.join(name),
        _ => log.to_owned(),
    }
}

/// The line of the file that a line of a batch came from; both are counted from 1.
fn line_of_event(batch: &Batch, line: Option<u64>) -> Option<u64> {
    let position = usize::try_from(line?.checked_sub(1)?).ok()?;
    batch.lines().get(position).copied()
}
