//! Stores messages of a partition, in their order and each once. What can never be stored is kept elsewhere before.

use std::{collections::HashSet, sync::Arc};

use db::Shards;
use model::{
    Hour, IdempotencyKey, SiteHour, SourceName, SourcePosition, SourceStanding, SourceStep, wire::MAX_BATCH_BYTES,
};
use tokio::time::sleep;

use super::{
    KafkaConfig,
    beginning::SITE,
    message::Message,
    rejects::{Rejected, Rejects},
};
use crate::{
    auth::Sites,
    batches::{Batch, LineEvent, LineFault, LineReader, VisitorNames},
    ingest::{
        backoff::Backoff,
        job::{Accepted, IngestError},
        lanes::EventLanes,
        limits::age::AgeLimits,
    },
    telemetry::{metrics::Metrics, outage::Outage},
};

/// What of the daemon stores messages.
pub(crate) struct StoringServices {
    pub(crate) shards: Shards,
    pub(crate) events: Arc<EventLanes>,
    pub(crate) names: Arc<VisitorNames>,
    pub(crate) sites: Arc<Sites>,
    pub(crate) ages: AgeLimits,
    pub(crate) metrics: Arc<Metrics>,
}

/// Stores the messages of all partitions.
pub(super) struct Storing {
    pub(super) config: KafkaConfig,
    pub(super) services: StoringServices,
    rejects: Rejects,
    outage: Outage,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Stored {
    /// All are stored, and the partition stands here.
    To(SourcePosition),
    /// The partition stands elsewhere than was known: another daemon has moved it, or the database was restored.
    Elsewhere,
}

/// What the database has refused of the messages at hand.
#[derive(Default)]
struct Refused {
    hours: HashSet<SiteHour>,
    keys: HashSet<(SiteHour, IdempotencyKey)>,
}

impl Refused {
    /// Why the database would refuse an event again.
    fn reason(&self, LineEvent { event, key }: &LineEvent) -> Option<&'static str> {
        let at = event.site_hour();
        if self.hours.contains(&at) {
            Some("the raw events of its hour are no longer all kept")
        } else if key.as_ref().is_some_and(|key| self.keys.contains(&(at, key.clone()))) {
            Some("another event was stored under its key")
        } else {
            None
        }
    }
}

/// What was read of some messages.
struct Read<'a> {
    lines: LineReader,
    batch: Batch,
    /// How many messages are in it, rejected and empty ones included.
    messages: usize,
    empty: usize,
    rejected: Vec<Rejected<'a>>,
}

impl Storing {
    pub(super) fn new(config: KafkaConfig, services: StoringServices) -> anyhow::Result<Self> {
        let rejects = Rejects::new(&config)?;
        Ok(Self { config, services, rejects, outage: Outage::default() })
    }

    /// Counts messages that the topic deleted before they were stored.
    pub(super) fn note_lost(&self, partition: i32, lost: u64) {
        if lost > 0 {
            tracing::error!(partition, lost, "the topic deleted messages before they were stored");
            self.services.metrics.kafka.lost.add(usize::try_from(lost).unwrap_or(usize::MAX));
        }
    }

    /// Tries until it is done. May be aborted anywhere: the position in the database tells what was stored.
    pub(super) async fn store(
        &self,
        partition: i32,
        source: &SourceName,
        mut from: SourcePosition,
        messages: Vec<Message>,
    ) -> Stored {
        let mut rest = &messages[..];
        let mut refused = Refused::default();
        let mut kept = HashSet::new();
        let mut most = rest.len();
        let mut backoff = Backoff::default();
        while !rest.is_empty() {
            match self
                .store_some(partition, source, &mut from, &rest[..most.min(rest.len())], &mut refused, &mut kept)
                .await
            {
                Ok(messages) => {
                    rest = &rest[messages..];
                    most = most.saturating_mul(2);
                    backoff = Backoff::default();
                    if self.outage.ends() {
                        tracing::info!("messages of the topic are stored again");
                    }
                }
                Err(NotStored::Elsewhere) => return Stored::Elsewhere,
                // Each commit finds one of them. Where many are refused, smaller ones have less to do again.
                Err(NotStored::Refused) => most = (most.min(rest.len()) / 2).max(1),
                // Some shards have the messages up to there already.
                Err(NotStored::PartEnds(end)) => {
                    most = rest.iter().take_while(|message| message.end() <= end).count().max(1);
                }
                // The next tries find out which it is.
                Err(NotStored::OneOfThem) => most = 1,
                Err(NotStored::Later(why)) => {
                    if self.outage.begins() {
                        tracing::warn!(partition, "messages of the topic wait: {why}");
                    }
                    sleep(backoff.pause()).await;
                }
            }
        }
        Stored::To(from)
    }

    /// Stores the first of some messages in one commit, as many as fit. Returns how many.
    async fn store_some(
        &self,
        partition: i32,
        source: &SourceName,
        from: &mut SourcePosition,
        messages: &[Message],
        refused: &mut Refused,
        kept: &mut HashSet<u64>,
    ) -> Result<usize, NotStored> {
        let counts = &self.services.metrics.kafka;
        let of_operator = self.services.sites.of_operator();
        if let Err(refusal) = of_operator.of_source(self.config.site.as_ref()).await
            && !refusal.passes()
        {
            // The next beginning says why it stalls.
            return Err(NotStored::Elsewhere);
        }
        let Read { lines, batch, messages: read, empty, mut rejected } = self.read(messages, refused).await?;
        let mut submission = batch.into_submission();
        if let Err(refusal) = lines.admit(&mut submission.events).await {
            if refusal.passes() {
                return Err(NotStored::Later(refusal.to_string()));
            }
            if messages.len() > 1 {
                return Err(NotStored::OneOfThem);
            }
            submission.events.clear();
            submission.keyed.clear();
            rejected.push(Rejected { message: &messages[0], reason: refusal.to_string() });
        }
        rejected.retain(|rejected| !kept.contains(&rejected.message.offset));
        if !rejected.is_empty() {
            let keeping = self.rejects.keep(partition, &rejected).await;
            keeping.map_err(|error| NotStored::Later(error.to_string()))?;
            for Rejected { message, reason } in &rejected {
                tracing::warn!(
                    partition,
                    offset = message.offset,
                    reason,
                    "a message of the topic is no event that can be stored"
                );
                kept.insert(message.offset);
            }
            counts.rejected.add(rejected.len());
        }
        let last = &messages[read - 1];
        let to = SourcePosition { position: last.end(), check: Some(last.check()) };
        let step = SourceStep { site: SITE, source: source.clone(), from: from.clone(), to: to.clone() };
        submission.step = Some(Box::new(step));
        let events = submission.events.len();
        let stored = self.services.events.store_batch(submission, None).await;
        match stored.map_err(IngestError::cause) {
            Ok(Accepted::Committed(repeated)) => {
                let before = usize::try_from(repeated.clicks + repeated.impressions).unwrap_or(events).min(events);
                counts.repeated.add(before);
                counts.stored.add(events - before);
                counts.empty.add(empty);
                if repeated.stands_at.is_some() {
                    return Err(NotStored::Elsewhere);
                }
                *from = to;
                Ok(read)
            }
            Ok(Accepted::Spooled) => Err(NotStored::Later("a part of a source is not spooled".to_owned())),
            Err(IngestError::SourceElsewhere(SourceStanding { at, parts_end_at })) => match parts_end_at.first() {
                Some(&end) if at == *from => Err(NotStored::PartEnds(end)),
                _ => Err(NotStored::Elsewhere),
            },
            Err(IngestError::Expired(expired)) => {
                refused.hours.insert(SiteHour { hour: Hour::containing(expired.at), site: expired.site });
                Err(NotStored::Refused)
            }
            Err(IngestError::Conflict(at, key)) => {
                refused.keys.insert((at, key));
                Err(NotStored::Refused)
            }
            // A site that was deleted is known as such in a moment. Of all others the next try may go through; where it is not known
            // whether they are stored, it finds out.
            Err(error) => Err(NotStored::Later(error.to_string())),
        }
    }

    /// Reads as many messages as fit into one commit, at least one.
    async fn read<'a>(&self, messages: &'a [Message], refused: &Refused) -> Result<Read<'a>, NotStored> {
        let StoringServices { names, sites, ages, .. } = &self.services;
        let (site, unit) = (self.config.site.clone(), self.config.timestamps);
        let lines = LineReader::new(ages.now(), Arc::clone(names), sites.of_operator(), site, unit);
        let mut read = Read { lines, batch: Batch::default(), messages: 0, empty: 0, rejected: Vec::new() };
        for message in messages {
            let reason = if let Some(cut) = &message.cut {
                Some(format!("it has {} bytes, of which {MAX_BATCH_BYTES} are accepted", cut.bytes))
            } else {
                let event = read.lines.read(message.payload.as_deref().unwrap_or_default()).await;
                match event {
                    Ok(None) => {
                        read.empty += 1;
                        None
                    }
                    Ok(Some(event)) => match refused.reason(&event) {
                        Some(reason) => Some(reason.to_owned()),
                        None if read.batch.add(event).is_ok() => None,
                        None => break,
                    },
                    Err(LineFault::NoName(_)) => {
                        return Err(NotStored::Later("the database does not answer".to_owned()));
                    }
                    Err(LineFault::Site(refusal)) if refusal.passes() => {
                        return Err(NotStored::Later(refusal.to_string()));
                    }
                    Err(fault) => Some(fault.to_string()),
                }
            };
            read.rejected.extend(reason.map(|reason| Rejected { message, reason }));
            read.messages += 1;
        }
        Ok(read)
    }
}

/// Why some messages are not stored.
enum NotStored {
    Elsewhere,
    /// Some shards have more of the partition already, up to this place, at which the next messages must end.
    PartEnds(u64),
    /// What was refused is known now, and is left out the next time.
    Refused,
    /// One of them is refused, and it is not known which.
    OneOfThem,
    /// The next try may go through.
    Later(String),
}
