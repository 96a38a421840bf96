//! Reads files of events and sends them in batches, one request at a time, so that it is known at every moment which lines
//! are stored. While one is under way the next batch is read:
//!
//! `source` opens a file, the crate `event-files` reads events from it, `batch` gathers them, `delivery` sends them. What cannot be read goes to
//! `rejects`, what is stored is counted by the `tally`, and an import that has to stop says so in `stopped`.

mod batch;
mod delivery;
mod progress;
mod rejects;
mod source;
mod stopped;
mod tally;

use std::{path::PathBuf, sync::Arc};

use event_files::{Content, Format, Records};
use model::{Event, IdempotencyKey, Timestamp};
use tokio::task::JoinHandle;

use self::{batch::Batch, delivery::deliver, progress::Progress, rejects::Rejects, stopped::Cause, tally::Tally};
pub(crate) use self::{source::Source, stopped::Stopped};
use crate::{
    failure::{Failure, Verdict},
    output,
    server::{Delivery, Server, ServerError},
    time::seconds_suspicion,
};

/// How to import.
#[derive(Debug)]
pub(crate) struct Options {
    /// How the files are written.
    pub(crate) format: Format,
    /// The most events of one request.
    pub(crate) batch_size: usize,
    /// Where lines that cannot be read are written to.
    pub(crate) rejects: Option<PathBuf>,
}

/// Imports the sources one after the other and prints what it came to, also when it has to stop on the way.
pub(crate) async fn run(server: &Server, sources: &[Source], options: Options) -> Result<Verdict, Failure> {
    let mut import = Import {
        server,
        rejects: Rejects::begin(options.rejects.as_deref(), sources)?,
        progress: Progress::begin(sources.iter().map(Source::bytes).sum()),
        tally: Tally::default(),
        suspect: None,
        spooled: 0,
        under_way: None,
        options,
    };
    let stopped = import.all(sources).await.err();
    import.progress.end();
    import.tally.unreadable = import.rejects.total();
    let printed = output::print(&import.tally.to_string());
    import.rejects.tell();
    if import.spooled > 0 {
        output::talk(&format!(
            "{} of these events are not stored yet: the server's database is away, and they will be when it is back",
            import.spooled
        ));
    }
    if let Some(suspect) = import.suspect {
        output::talk(&format!("warning: {suspect}"));
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
    tally: Tally,
    /// What is strange about the first timestamp that looks like seconds.
    suspect: Option<String>,
    /// How many events the server took while its database was away.
    spooled: u64,
    /// The batch that was sent last, until its answer is looked at.
    under_way: Option<UnderWay>,
}

/// A request that is not answered yet, or whose answer was not looked at yet.
struct UnderWay {
    batch: Arc<Batch>,
    answer: JoinHandle<Result<Delivery, ServerError>>,
}

/// A file that an import stopped in: why, and where.
struct StoppedFile {
    cause: Cause,
    first_unsent: u64,
    last_sent: Option<u64>,
}

impl StoppedFile {
    /// Stopped before a batch was sent. While a file is read, its batch is empty only if no event was read from it yet.
    fn before(batch: &Batch, cause: Cause) -> Self {
        Self { cause, first_unsent: batch.lines().first().copied().unwrap_or(1), last_sent: None }
    }
}

impl Import<'_> {
    async fn all(&mut self, sources: &[Source]) -> Result<(), Box<Stopped>> {
        for (position, source) in sources.iter().enumerate() {
            self.one(source).await.map_err(|StoppedFile { cause, first_unsent, last_sent }| {
                Box::new(Stopped {
                    cause,
                    source: source.name(),
                    files_left: sources.len() - position - 1,
                    acknowledged: self.tally.events,
                    first_unsent,
                    last_sent,
                })
            })?;
        }
        Ok(())
    }

    /// Imports one file. A batch never spans files, so that a file's name and two line numbers say what is in it.
    async fn one(&mut self, source: &Source) -> Result<(), StoppedFile> {
        let read = self.read(source).await;
        // Whatever ended the reading, what was sent before comes first.
        self.settle().await?;
        read
    }

    async fn read(&mut self, source: &Source) -> Result<(), StoppedFile> {
        let name = source.name();
        let mut batch = Batch::default();
        let reader = source.open().map_err(|error| StoppedFile::before(&batch, Cause::Read(error.into())))?;
        let mut records = Records::new(self.progress.watch(reader), &self.options.format);
        while let Some(record) = records.next().map_err(|error| StoppedFile::before(&batch, Cause::Read(error)))? {
            match record.content {
                Content::Event(event) => self.add(&name, record.line, &event, None, &mut batch).await?,
                Content::Keyed(event, key) => self.add(&name, record.line, &event, Some(&key), &mut batch).await?,
                Content::NotAPageView => self.tally.not_page_views += 1,
                Content::Unreadable(reason) => self
                    .rejects
                    .note(&name, record.line, &reason)
                    .map_err(|error| StoppedFile::before(&batch, Cause::Rejects(error)))?,
            }
        }
        self.rejects.end_file(&name).map_err(|error| StoppedFile::before(&batch, Cause::Rejects(error)))?;
        if batch.is_empty() { Ok(()) } else { self.send(batch).await }
    }

    async fn add(
        &mut self,
        name: &str,
        line: u64,
        event: &Event,
        key: Option<&IdempotencyKey>,
        batch: &mut Batch,
    ) -> Result<(), StoppedFile> {
        self.suspect(name, line, event.at);
        if !batch.push(line, event, key, self.options.batch_size) {
            self.send(std::mem::take(batch)).await?;
            let pushed = batch.push(line, event, key, self.options.batch_size);
            assert!(pushed, "one event is within the limits of a batch");
        }
        Ok(())
    }

    /// Sends a batch once the one before is stored.
    async fn send(&mut self, batch: Batch) -> Result<(), StoppedFile> {
        self.settle().await?;
        let batch = Arc::new(batch);
        let (server, progress, sent) = (self.server.clone(), self.progress.clone(), Arc::clone(&batch));
        let answer = tokio::spawn(async move { deliver(&server, sent.body(), |line| progress.tell(line)).await });
        self.under_way = Some(UnderWay { batch, answer });
        Ok(())
    }

    /// Waits for the answer to the batch that is under way, if any, and counts it.
    async fn settle(&mut self) -> Result<(), StoppedFile> {
        let Some(UnderWay { batch, answer }) = self.under_way.take() else { return Ok(()) };
        match answer.await.expect("sending a batch does not panic") {
            Ok(Delivery::Stored) => {}
            Ok(Delivery::Spooled) => self.spooled += batch.lines().len() as u64,
            Err(error) => {
                let line = match &error {
                    ServerError::Refused { problem, .. } => line_of_event(&batch, problem.line),
                    _ => None,
                };
                let last_sent = batch.lines().last().copied();
                return Err(StoppedFile { last_sent, ..StoppedFile::before(&batch, Cause::Server { error, line }) });
            }
        }
        self.tally.add(&batch);
        self.progress.stored(self.tally.events);
        Ok(())
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
