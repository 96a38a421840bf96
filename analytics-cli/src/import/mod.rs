//! Reads files of events and sends them in batches, several at a time, each as a part of an ordered source. The server
//! stores how far each source is stored with the events, so that an import may be cut anywhere and made again.
//!
//! `input` opens a file, `beginning` names the source that it may be, and `standing` tells which it is. `reader` does both on
//! a thread and reads the events through the crate `event-files`; `collecting` makes each `batch`. `files` passes batches
//! on, `sending` sends them, and `delivery` decides what is sent again. Lines that cannot be read go to `rejects`, the
//! `tally` counts events, and `stopped` reports an import that stops early. `follow` reads logs that grow, and `lag` tells
//! how far behind it is.

mod batch;
mod beginning;
mod collecting;
mod delivery;
mod fault;
mod files;
mod follow;
mod input;
mod interruption;
mod lag;
mod progress;
mod reader;
mod rejects;
mod sending;
mod standing;
mod stopped;
mod tally;

use std::{io::ErrorKind, path::PathBuf, process::ExitCode, sync::Arc};

use client::{Client, ClientError};
use event_files::{Content, ReadError, Reading, Record, Records};
use futures_util::future::join_all;
use tokio::{sync::Mutex, task::JoinSet};

pub(crate) use self::input::Input;
use self::{
    batch::Batch,
    delivery::UnderWay,
    fault::Fault,
    interruption::Interruption,
    lag::Lag,
    progress::Progress,
    reader::{How, Naming},
    rejects::Rejects,
    sending::Answered,
    tally::Tally,
};
use crate::{failure::Failure, output};

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
        rotated_from: None,
        only_known: false,
    };
    let begin = || Import::begin(client, &rejects, &progress, &interruption);
    let (mut tally, spooled, stopped) = if options.follow {
        let lag = Lag::begin(options.metrics.as_deref())?;
        let follow_one = async |input: &Input| {
            let mut import = begin();
            let stopped = import.follow(input, how(0), &lag).await.err();
            // One that stops ends the others, so that whoever started the program is told.
            interruption.raise();
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
    if stopped.is_none() {
        output::message(&tally.sentence());
    }
    if let Some((first, last)) = tally.range() {
        output::message(&format!("the page shows them: {}", client.page(first, last)));
    }
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
    /// The last line of this file that was sent.
    sent_to: u64,
    under_way: UnderWay,
    was_reached: bool,
}

/// Ends of batches of a source, as positions.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ends {
    /// The server compared the content up to here.
    compared: u64,
    /// The server stands behind this one, and did not compare.
    assumed: u64,
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
            sent_to: 0,
            under_way: UnderWay::default(),
            was_reached: false,
        }
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
            // A log that is followed may begin to be there later.
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => format!("{}: {error}", input.name()),
        };
        return Err(Failure::CannotRun(format!("{fault}; nothing was imported")));
    }
    Ok(())
}
