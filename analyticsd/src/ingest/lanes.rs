//! The way of events to their shards. An event goes to the shard of its visitor, and is one commit there. A batch is cut by shard; its key or its
//! source is kept in each of them, so that giving it again completes what is missing.

use std::{sync::Arc, time::Duration};

use db::{Depth, Refusals, Shards, StoreError, StoreOptions};
use futures_util::future::join_all;
use model::{IdempotencyKey, SiteEvent, SourcePosition, SourceStanding, SourceStep, Submission};
use tokio::time::timeout;

use crate::{
    ingest::{
        expired::{Expired, accepts_from},
        job::{Accepted, IngestError, Repeated},
        limits::body_budget::BodyShare,
        losses::Losses,
        shard_lanes::ShardLanes,
        spool::ShardSpools,
        storing::Storing,
    },
    process::tasks::Tasks,
    telemetry::metrics::Metrics,
};

/// How long a shard may take to say whether it would refuse its part of a batch.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// The most batches at a time of which a shard is asked that.
const CONNECTIONS: usize = 2;

/// The lanes of the events of all shards.
pub(crate) struct EventLanes {
    shards: Vec<Arc<ShardLanes>>,
    /// To ask them whether they would refuse a part of a batch.
    stores: Shards,
    has_spool: bool,
}

impl EventLanes {
    /// Starts the lanes' tasks in `tasks`. Once the [`EventLanes`] are dropped, they answer all accepted requests and
    /// end. With spools, events are kept there while the database of their shard is unavailable.
    pub(crate) fn start(
        shards: &Shards,
        spools: Option<&ShardSpools>,
        losses: Vec<Losses>,
        depth: Depth,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Self {
        let options = StoreOptions {
            application_name: "analyticsd batches".to_owned(),
            max_connections: CONNECTIONS,
            works_on_raw_events: false,
            ..StoreOptions::default()
        };
        let lanes = shards.iter().zip(losses).zip(&metrics.shards).enumerate();
        let lanes = lanes.map(|(shard, ((store, losses), metrics))| {
            let spool = spools.map(|spools| spools.of(shard));
            let lanes = Arc::new(ShardLanes::start(store, spool, metrics, losses, shards.len(), depth, tasks));
            lanes.watch(metrics);
            lanes
        });
        Self { shards: lanes.collect(), stores: shards.with_options(&options), has_spool: spools.is_some() }
    }

    /// Whether events of each shard can be stored, as far as its lanes know.
    pub(crate) fn storing(&self) -> Vec<Arc<Storing>> {
        self.shards.iter().map(|lanes| lanes.storing()).collect()
    }

    /// Whether a batch may come without a source and without keys: several shards store it in several commits, of which
    /// some may fail, and without one of both it could not be given again.
    pub(crate) fn takes_unnamed_batches(&self) -> bool {
        self.shards.len() == 1
    }

    /// Stores one event, under a key if one is given; when this returns [`Accepted::Committed`] it is committed.
    pub(crate) fn store_one(
        &self,
        event: SiteEvent,
        key: Option<IdempotencyKey>,
    ) -> impl Future<Output = Result<Accepted, IngestError>> {
        let shard = self.stores.count().shard_of(&event.event.user);
        let stored = self.shards[shard].store_one(event, key);
        async move {
            stored.await.map_err(|error| match error {
                IngestError::Unavailable if self.shards.len() > 1 => IngestError::ShardUnavailable(shard),
                other => other,
            })
        }
    }

    /// Stores a batch; when this returns [`Accepted::Committed`] it is committed. `share` is the memory that it has of
    /// the budget for bodies, if it came as one.
    ///
    /// In one shard it is all or nothing. In several each stores its part, all at once, unless one of them says before
    /// that it would refuse it for good.
    pub(crate) async fn store_batch(
        &self,
        batch: Submission,
        share: Option<BodyShare>,
    ) -> Result<Accepted, IngestError> {
        let share = share.map(Arc::new);
        if let [one] = &self.shards[..] {
            return one.store_batch(batch, share).await;
        }
        let count = self.stores.count();
        let parts = batch.cut(count.get(), |event| count.shard_of(&event.event.user));
        // Each shard's position of a source moves with each part, so that it takes no part before the one that it lacks.
        let parts: Vec<(usize, Submission)> =
            parts.into_iter().enumerate().filter(|(_, part)| part.step.is_some() || !part.events.is_empty()).collect();
        let mut is_stored_in_part = false;
        if parts.len() > 1 || parts.iter().any(|(_, part)| part.step.is_some()) {
            is_stored_in_part = self.refuse(&parts).await?;
        }
        let end = parts.first().and_then(|(_, part)| Some(part.step.as_ref()?.to.position));
        let mut parts = parts.into_iter();
        let store = async |(shard, part): (usize, Submission)| {
            self.shards[shard].store_batch(part, share.clone()).await.map_err(|error| match error {
                IngestError::Unavailable => IngestError::PartUnavailable(shard),
                other => other,
            })
        };
        let mut answers = Vec::new();
        // Of two batches that come under one key at once, one is first in the first shard of both, and the other is refused there before
        // anything of it is stored.
        if end.is_none()
            && let Some(first) = parts.next()
        {
            answers.push(store(first).await);
        }
        if answers.iter().all(Result::is_ok) {
            answers.extend(join_all(parts.map(store)).await);
        }
        together(answers, end, is_stored_in_part)
    }

    /// Asks each shard whether it would refuse its part for good, so that no other stores its own. Returns whether some have stored theirs before.
    async fn refuse(&self, parts: &[(usize, Submission)]) -> Result<bool, IngestError> {
        let asked = parts.iter().map(async |(shard, part)| (*shard, part, self.ask(*shard, part).await));
        let (mut is_stored_in_part, mut away, mut refused, mut stand) = (false, None, None, Vec::new());
        for (shard, part, refusals) in join_all(asked).await {
            let Some(refusals) = refusals else {
                away = away.or(Some(shard));
                continue;
            };
            if has(part, &refusals) {
                is_stored_in_part = true;
            } else if let Err(error) = self.judge(shard, part, &refusals).await {
                refused = refused.or(Some(error));
            }
            stand.extend(refusals.stands_at);
        }
        if let Some(error) = refused {
            return Err(if is_stored_in_part { IngestError::RefusedInPart(Box::new(error)) } else { error });
        }
        let step = parts.first().and_then(|(_, part)| part.step.as_ref());
        // Of a source nothing is spooled.
        if let Some(shard) = away.filter(|_| step.is_some() || !self.has_spool) {
            return Err(IngestError::PartUnavailable(shard));
        }
        match step.and_then(|step| elsewhere(step, stand)) {
            Some(standing) => Err(IngestError::SourceElsewhere(standing)),
            None => Ok(is_stored_in_part),
        }
    }

    /// What a shard says of its part. None if it does not answer, or answers and stores nothing: the others would store theirs each time that the
    /// batch comes, and it would hold its own up.
    async fn ask(&self, shard: usize, part: &Submission) -> Option<Refusals> {
        let asked = async {
            let refusals = self.stores[shard].refusals(part).await?;
            Ok::<_, StoreError>((refusals, self.shards[shard].storing().trouble().await))
        };
        match timeout(PATIENCE, asked).await.unwrap_or(Err(StoreError::TimedOut(PATIENCE))) {
            Ok((refusals, None)) => Some(refusals),
            Ok((_, Some(trouble))) => {
                tracing::debug!(shard, trouble, "a shard stores nothing, so no other stores its part of a batch");
                None
            }
            Err(error) => {
                tracing::debug!(shard, %error, "a shard does not say whether it would refuse a part of a batch");
                None
            }
        }
    }

    async fn judge(&self, shard: usize, part: &Submission, refusals: &Refusals) -> Result<(), IngestError> {
        if part.events.iter().any(|event| refusals.deleted.contains(&event.site)) {
            return Err(IngestError::SiteDeleted);
        }
        if let Some(late) = part.events.iter().find(|event| refusals.expired.contains(&event.site_hour())) {
            let accepts_from = accepts_from(&self.stores[shard]).await;
            return Err(IngestError::Expired(Expired { at: late.event.at, site: late.site, accepts_from }));
        }
        match &refusals.conflicting {
            Some(claim) => Err(IngestError::Conflict(claim.site_hour, claim.key.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a shard has stored its part before, so that it says so whatever has become of the part's hours since.
fn has(part: &Submission, refusals: &Refusals) -> bool {
    match (&part.step, &refusals.stands_at) {
        (Some(step), Some(at)) => at.position > step.to.position || *at == step.to,
        _ => refusals.are_all_repeated && !part.keyed.is_empty() && part.is_all_keyed(),
    }
}

/// Where a source stands whose part begins or ends within what some shards have; none if its shards may take the part,
/// or some of them wait for what comes before it.
fn elsewhere(step: &SourceStep, stand: Vec<SourcePosition>) -> Option<SourceStanding> {
    let fits = |at: &SourcePosition| {
        *at == step.from || *at == step.to || at.position < step.from.position || at.position > step.to.position
    };
    if stand.iter().all(fits) { None } else { SourceStanding::of_shards(stand) }
}

/// What a batch is answered whose parts were answered so. `end` is where it ends in its source, and `is_stored_in_part` whether some shards have
/// stored their parts before.
fn together(
    answers: Vec<Result<Accepted, IngestError>>,
    end: Option<u64>,
    is_stored_in_part: bool,
) -> Result<Accepted, IngestError> {
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let mut refused: Vec<IngestError> = refused.into_iter().filter_map(Result::err).collect();
    // The source stands where the shard stands that has the least of it. What others have is not stored again.
    let stand: Vec<SourceStanding> = refused
        .iter()
        .filter_map(|error| match error {
            IngestError::SourceElsewhere(standing) => Some(standing.clone()),
            _ => None,
        })
        .collect();
    if let Some(mut standing) = stand.into_iter().min_by_key(|standing| standing.at.position) {
        standing.parts_end_at.extend(end.filter(|_| !accepted.is_empty()));
        return Err(IngestError::SourceElsewhere(standing));
    }
    if refused.is_empty() {
        return Ok(accepted
            .into_iter()
            .filter_map(Result::ok)
            .reduce(both)
            .unwrap_or(Accepted::Committed(Repeated::default())));
    }
    if !accepted.is_empty() || is_stored_in_part || refused.contains(&IngestError::Unknown) {
        return Err(IngestError::Incomplete);
    }
    // What will be refused again says more than what may pass.
    let place = refused.iter().position(IngestError::is_for_good).unwrap_or(0);
    Err(refused.swap_remove(place))
}

fn both(one: Accepted, other: Accepted) -> Accepted {
    match (one, other) {
        (Accepted::Committed(one), Accepted::Committed(other)) => Accepted::Committed(Repeated {
            clicks: one.clicks + other.clicks,
            impressions: one.impressions + other.impressions,
            stands_at: one.stands_at.zip(other.stands_at).map(|(one, other)| one.min(other)),
        }),
        _ => Accepted::Spooled,
    }
}

#[cfg(test)]
mod tests {
    use model::{SiteId, SourceName, SourcePosition, SourceStanding, SourceStep};

    use super::{elsewhere, together};
    use crate::ingest::job::{Accepted, IngestError, Repeated};

    fn at(position: u64) -> SourcePosition {
        SourcePosition { position, check: None }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside errors")]
    fn committed(clicks: u64, stands_at: Option<u64>) -> Result<Accepted, IngestError> {
        Ok(Accepted::Committed(Repeated { clicks, impressions: 1, stands_at }))
    }

    #[test]
    fn a_batch_is_acknowledged_once_every_shard_has_acknowledged_its_part() {
        let repeated =
            |clicks, impressions, stands_at| Ok(Accepted::Committed(Repeated { clicks, impressions, stands_at }));
        assert_eq!(together(vec![committed(1, None), committed(2, None)], None, false), repeated(3, 2, None));
        assert_eq!(together(vec![committed(1, Some(9)), committed(2, Some(7))], None, false), repeated(3, 2, Some(7)));
        assert_eq!(together(vec![committed(1, Some(9)), committed(2, None)], None, false), repeated(3, 2, None));
        assert_eq!(together(vec![committed(1, None), Ok(Accepted::Spooled)], None, false), Ok(Accepted::Spooled));
        assert_eq!(together(vec![], None, false), repeated(0, 0, None));
    }

    #[test]
    fn a_batch_of_which_some_parts_are_stored_is_to_be_given_again() {
        let incomplete = Err(IngestError::Incomplete);
        assert_eq!(together(vec![committed(1, None), Err(IngestError::Unavailable)], None, false), incomplete);
        assert_eq!(together(vec![committed(1, None), Err(IngestError::SiteDeleted)], None, false), incomplete);
        assert_eq!(together(vec![Err(IngestError::TooBusy), Err(IngestError::Unknown)], None, false), incomplete);
        assert_eq!(together(vec![Err(IngestError::TooBusy)], None, true), incomplete, "others have theirs");
        let refused = vec![Err(IngestError::TooBusy), Err(IngestError::SiteDeleted)];
        assert_eq!(together(refused, None, false), Err(IngestError::SiteDeleted));
    }

    #[test]
    fn a_source_stands_where_the_shard_stands_that_has_the_least_of_it() {
        let moved = |position| Err(IngestError::SourceElsewhere(SourceStanding::at(at(position))));
        assert_eq!(together(vec![moved(8), moved(5)], Some(20), false), moved(5));
        let standing = SourceStanding { at: at(5), parts_end_at: vec![20] };
        let answers = vec![committed(1, None), moved(8), moved(5)];
        assert_eq!(
            together(answers, Some(20), false),
            Err(IngestError::SourceElsewhere(standing)),
            "one has it up to there"
        );
    }

    #[test]
    fn a_part_must_end_where_the_one_ends_that_some_shards_have() {
        let step =
            SourceStep { site: SiteId::NAMELESS, source: SourceName::new("a").unwrap(), from: at(10), to: at(20) };
        let judged = |positions: &[u64]| elsewhere(&step, positions.iter().map(|&position| at(position)).collect());
        for fits in [&[10, 10][..], &[10, 20], &[20, 20], &[0, 20], &[0, 0], &[30, 10]] {
            assert_eq!(judged(fits), None, "{fits:?}");
        }
        assert_eq!(judged(&[10, 15, 18, 30]), Some(SourceStanding { at: at(10), parts_end_at: vec![15, 18, 30] }));
        assert_eq!(judged(&[0, 15]), Some(SourceStanding { at: at(0), parts_end_at: vec![15] }));
    }
}
