//! Stores batches of which the next ones are sent before the last one is answered, on one connection. So the database need not wait for the daemon
//! between two commits.
//!
//! Each batch names the one before it, and the database refuses it unless that one is stored. So batches are stored in their order or not at all, and
//! one number, that of the last stored batch, tells the fate of all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use model::{SiteEvent, SourceStep};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    Acknowledged, Claim, Ingested, Store, StoreError, WriteError, Writer,
    attempt::{Attempt, SIGN_OF_LIFE, SendError, judge, release},
    claims::ClaimColumns,
    columns::Columns,
    connection::Session,
    depth::{Depth, Pace},
    ingest_call::{self, IngestCall},
    known_visitors::KnownVisitors,
    registration::lock,
    sources::SourceColumns,
};

/// A batch that is under way for longer waits for something, and so would those that are sent behind it.
const SLOW: Duration = Duration::from_secs(1);

/// What is stored in one commit.
pub trait Batch: Send + Sync + 'static {
    /// At least one, unless only sources move.
    fn events(&self) -> impl Iterator<Item = &SiteEvent> + Send;

    /// A key and an hour of a site stand in them only once.
    fn claims(&self) -> &[Claim];

    /// Ascending by site and name, one for each source.
    fn steps(&self) -> &[SourceStep];
}

/// What became of the oldest batch under way.
#[derive(Debug)]
pub struct Answered<B> {
    /// The batch.
    pub batch: B,
    /// Whether it is stored.
    pub outcome: Result<Ingested, WriteError>,
    /// Those that were sent behind it, in their order, if it was not stored at once. The first [`WriteError::undecided_behind`] are undecided like it,
    /// the others are certainly not stored.
    pub behind: Vec<B>,
    /// How long the database had it, without the time that it took for those before.
    pub took: Duration,
}

/// A writer with several batches under way.
pub struct Pipeline<B> {
    writer: Writer,
    pace: Pace,
    /// What the batches under way were sent on. There is none without one.
    session: Option<Arc<Session>>,
    /// The oldest first.
    under_way: VecDeque<UnderWay<B>>,
}

/// The answer to a batch. None: it did not come in time.
type Answer = Option<Result<Ingested, SendError>>;

struct UnderWay<B> {
    batch: Arc<B>,
    number: i64,
    events: u64,
    sent: Instant,
    /// Since when no other is before it.
    oldest_since: Instant,
    answer: BoxFuture<'static, Result<Ingested, SendError>>,
    came: Option<Answer>,
}

impl<B: Batch> Pipeline<B> {
    /// Of a writer that registers itself with its first batch, and anew after one whose fate was not known.
    pub fn new(store: Store, depth: Depth) -> Self {
        Self { writer: Writer::new(store), pace: Pace::new(depth), session: None, under_way: VecDeque::new() }
    }

    /// Whether no batch is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// How much has to wait before the next batch is sent behind those under way, measured as `size` does; none if none is sent now.
    pub fn wanted(&self, size: impl Fn(&B) -> usize) -> Option<usize> {
        let (oldest, newest, session) = (self.under_way.front()?, self.under_way.back()?, self.session.as_ref()?);
        // Of one that only moves sources the database keeps no number, so that nothing could name it.
        if newest.events == 0 || oldest.oldest_since.elapsed() > SLOW {
            return None;
        }
        self.pace.wanted(self.under_way.len(), session.round_trip(), size(&newest.batch))
    }

    /// Sends a batch, or answers it at once because it could not be sent. One without events is sent only if no other is under way.
    pub async fn send(&mut self, batch: B) -> Result<(), Answered<B>> {
        debug_assert!(self.is_empty() || batch.events().next().is_some(), "nothing could name it");
        let began = Instant::now();
        let batch = Arc::new(batch);
        match self.begin(&batch).await {
            Ok(under_way) => {
                self.under_way.push_back(under_way);
                // The first poll sends it.
                let newest = self.under_way.back_mut().expect("it was just put there");
                if let Some(answer) = (&mut newest.answer).now_or_never() {
                    newest.came = Some(Some(answer));
                }
                Ok(())
            }
            Err(cause) => Err(Answered {
                batch: own(batch),
                outcome: Err(WriteError::NotStored(cause)),
                behind: Vec::new(),
                took: began.elapsed(),
            }),
        }
    }

    async fn begin(&mut self, batch: &Arc<B>) -> Result<UnderWay<B>, StoreError> {
        let row = self.writer.registration.row(&self.writer.store).await?;
        let session = match self.session.take() {
            Some(session) => session,
            None => Arc::new(prepared(&self.writer.store).await?),
        };
        self.session = Some(Arc::clone(&session));
        let after = self.under_way.back().map_or(row.last_batch(), |before| before.number);
        let place = Place { writer: row.id, after, number: row.next_number(), known: row.share_known() };
        let now = Instant::now();
        Ok(UnderWay {
            batch: Arc::clone(batch),
            number: place.number,
            events: batch.events().count() as u64,
            sent: now,
            oldest_since: now,
            answer: Box::pin(place.ingest(session, Arc::clone(batch))),
            came: None,
        })
    }

    /// Resolves when the oldest batch is answered, or has taken too long. Without one it never does. It may be dropped at any time.
    pub async fn answered(&mut self) {
        let limit = self.writer.store.statement_limit();
        match self.under_way.front_mut() {
            Some(oldest) => oldest.wait(limit).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the oldest batch, which must be there, when it is answered.
    pub async fn take(&mut self) -> Answered<B> {
        let store = self.writer.store.clone();
        self.answered().await;
        let oldest = self.under_way.pop_front().expect("one is under way");
        let UnderWay { batch, number, events, sent, oldest_since, answer, came } = oldest;
        drop(answer);
        let session = self.session.take().expect("what is under way has a session");
        let judged = match came.flatten() {
            Some(answer) => judge(&session, answer).await,
            None => Err(Attempt::FateUnknown(StoreError::TimedOut(store.statement_limit()))),
        };
        if matches!(judged, Ok(Ingested::Stored)) {
            let took = oldest_since.elapsed();
            if events > 0
                && let Some(row) = self.writer.registration.registered()
            {
                row.stands_at(number, events);
                self.pace.took(sent.elapsed(), took, session.round_trip());
            }
            match self.under_way.front_mut() {
                Some(next) => {
                    next.oldest_since = Instant::now();
                    self.session = Some(session);
                }
                None => release(&store, alone(session), None),
            }
            return Answered { batch: own(batch), outcome: Ok(Ingested::Stored), behind: Vec::new(), took };
        }

        // What is behind it names it, and is refused: nobody has to wait for that, but for the session's sake a moment.
        let (mut behind, mut numbers) = (Vec::new(), Vec::new());
        let mut is_answered = !matches!(&judged, Err(failed) if failed.cause().is_silence());
        let deadline = Instant::now() + SIGN_OF_LIFE;
        for next in self.under_way.drain(..) {
            let UnderWay { batch, number, answer, came, .. } = next;
            if is_answered && came.is_none() {
                is_answered = timeout_at(deadline, answer).await.is_ok();
            } else {
                drop(answer);
            }
            behind.push(own(batch));
            numbers.push(number);
        }
        // A session on which something is still under way is given up when it is dropped.
        if is_answered {
            release(&store, alone(session), judged.as_ref().err());
        }
        let outcome = match judged {
            Ok(not_stored) => Ok(not_stored),
            Err(failed) => match self.writer.registration.after(number, numbers, failed) {
                Ok(_) => self.writer.ingest_once(batch.events(), batch.claims(), batch.steps()).await,
                Err(error) => Err(error),
            },
        };
        Answered { batch: own(batch), outcome, behind, took: oldest_since.elapsed() }
    }

    /// Proves that an event could be stored, see [`Writer::prove`]. No batch may be under way.
    pub async fn prove(&mut self) -> Result<(), StoreError> {
        self.writer.prove().await
    }

    /// What it stored by a row that it left since this was asked the last time: the database may have lost some of it.
    pub fn take_left(&mut self) -> Option<Acknowledged> {
        self.writer.take_left()
    }

    /// Whether it has a row, which tells of a loss.
    pub fn is_registered(&self) -> bool {
        self.writer.is_registered()
    }

    /// The writer, once no batch is under way.
    pub fn into_writer(self) -> Writer {
        self.writer
    }
}

impl<B> UnderWay<B> {
    async fn wait(&mut self, limit: Duration) {
        if self.came.is_none() {
            // Counted from its beginning, so that as many as are under way take no longer together than one may.
            self.came = Some(timeout_at(self.sent + limit, &mut self.answer).await.ok());
        }
    }
}

/// The place of a batch in the order of its writer.
struct Place {
    writer: i64,
    after: i64,
    number: i64,
    known: Arc<Mutex<KnownVisitors>>,
}

impl Place {
    async fn ingest(self, session: Arc<Session>, batch: Arc<impl Batch>) -> Result<Ingested, SendError> {
        let Self { writer, after, number, known } = self;
        let (claims, sources) = (ClaimColumns::of(batch.claims()), SourceColumns::of(batch.steps()));
        let columns = Columns::of(batch.events(), &lock(&known));
        let call = IngestCall { writer, after, number, columns, claims: &claims, sources: &sources };
        let ingested = call.send(&session).await?;
        if ingested == Ingested::Stored {
            lock(&known).add(call.columns.seen());
        }
        Ok(ingested)
    }
}

/// A session on which each call is sent as soon as it is made: two that had to be prepared first could come in the wrong order.
async fn prepared(store: &Store) -> Result<Session, StoreError> {
    let session = store.session().await?;
    let limit = store.statement_limit();
    match timeout(limit, ingest_call::prepare(&session)).await {
        Ok(Ok(())) => Ok(session),
        Ok(Err(SendError::Preparing(error) | SendError::Sent(error))) => {
            let failed = Attempt::NotSent(error.into());
            release(store, session, Some(&failed));
            Err(failed.into_cause())
        }
        Err(_) => Err(StoreError::TimedOut(limit)),
    }
}

/// A batch that is not under way any more.
fn own<B>(batch: Arc<B>) -> B {
    Arc::into_inner(batch).expect("its answer is there or not waited for")
}

/// A session on which nothing is under way any more.
fn alone(session: Arc<Session>) -> Session {
    Arc::into_inner(session).expect("all answers are there")
}
