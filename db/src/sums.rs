//! What is read of all shards at once and added: no visitor is in two of them.

use std::{collections::BTreeMap, ops::RangeInclusive};

use model::{Hour, HourRow, SiteId, SourceName, SourcePosition, SourceStanding};
use tokio::task::JoinSet;

use crate::{
    MAX_LISTED_SOURCES, Shards, ShardsError, Store, StoreError,
    unique_users::{PeriodCounts, PeriodRow, RangeCounts},
};

impl Shards {
    /// What a range of hours of a site says. Each shard is seen at one instant, which is after the call.
    pub async fn range_counts(&self, site: SiteId, range: &RangeInclusive<Hour>) -> Result<RangeCounts, ShardsError> {
        let range = range.clone();
        let of_shards = self.of_each(move |store| {
            let range = range.clone();
            async move { store.range_counts(site, &range).await }
        });
        Ok(of_shards.await?.into_iter().reduce(sum_of_ranges).expect("a counter has a shard"))
    }

    /// The same for periods that follow one another, at least one.
    pub async fn period_counts(
        &self,
        site: SiteId,
        periods: &[RangeInclusive<Hour>],
    ) -> Result<PeriodCounts, ShardsError> {
        let periods = periods.to_vec();
        let of_shards = self.of_each(move |store| {
            let periods = periods.clone();
            async move { store.period_counts(site, &periods).await }
        });
        Ok(of_shards.await?.into_iter().reduce(sum_of_periods).expect("a counter has a shard"))
    }

    /// The sources of a site whose names begin so, ascending by name, at most [`MAX_LISTED_SOURCES`], and where they stand.
    pub async fn sources(&self, site: SiteId, prefix: &str) -> Result<Vec<(String, SourceStanding)>, ShardsError> {
        let prefix = prefix.to_owned();
        let of_shards = self.of_each(move |store| {
            let prefix = prefix.clone();
            async move { store.sources(site, &prefix).await }
        });
        Ok(standings(of_shards.await?))
    }

    /// Where a source stands, by its whole name.
    pub async fn source_standing(&self, site: SiteId, source: &SourceName) -> Result<SourceStanding, ShardsError> {
        let source = source.clone();
        let stand = self.of_each(move |store| {
            let source = source.clone();
            async move { store.source_position(site, &source).await }
        });
        Ok(SourceStanding::of_shards(stand.await?).unwrap_or_else(|| SourceStanding::at(SourcePosition::default())))
    }

    /// Asks every shard at once. The first that does not answer decides.
    async fn of_each<T, F>(&self, ask: impl Fn(Store) -> F) -> Result<Vec<T>, ShardsError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        for (shard, store) in self.iter().cloned().enumerate() {
            let answer = ask(store);
            asked.spawn(async move { (shard, answer.await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(shard, _)| *shard);
        let of_shard =
            |(shard, answer): (usize, Result<T, StoreError>)| answer.map_err(|error| self.error(shard, error));
        answers.into_iter().map(of_shard).collect()
    }
}

fn sum_of_ranges(mut one: RangeCounts, other: RangeCounts) -> RangeCounts {
    for (hour, more) in one.hours.iter_mut().zip(other.hours) {
        let [mine, its] = [is_empty(hour), is_empty(&more)];
        hour.settled = are_settled((mine, hour.settled), (its, more.settled));
        hour.counts += more.counts;
    }
    RangeCounts { hours: one.hours, unique_users: one.unique_users.plus(other.unique_users) }
}

fn sum_of_periods(one: PeriodCounts, other: PeriodCounts) -> PeriodCounts {
    let sum = |(one, other): (PeriodRow, PeriodRow)| {
        let is_empty = |row: &PeriodRow| row.clicks + row.impressions == 0;
        PeriodRow {
            settled: are_settled((is_empty(&one), one.settled), (is_empty(&other), other.settled)),
            unique_users: one.unique_users.plus(other.unique_users),
            clicks: one.clicks + other.clicks,
            impressions: one.impressions + other.impressions,
        }
    };
    PeriodCounts {
        periods: one.periods.into_iter().zip(other.periods).map(sum).collect(),
        unique_users: one.unique_users.plus(other.unique_users),
        stored: match (one.stored, other.stored) {
            (Some((first, last)), Some((its_first, its_last))) => Some((first.min(its_first), last.max(its_last))),
            (one, other) => one.or(other),
        },
    }
}

/// Of two shards, each of which is empty or not and settled or not. One without an event is neither open nor settled.
fn are_settled(one: (bool, bool), other: (bool, bool)) -> bool {
    match (one, other) {
        ((true, _), (_, settled)) | ((_, settled), (true, _)) => settled,
        ((_, one), (_, other)) => one && other,
    }
}

fn is_empty(row: &HourRow) -> bool {
    row.counts.clicks + row.counts.impressions == 0
}

/// Where sources stand that the shards list.
fn standings(of_shards: Vec<Vec<(String, SourcePosition)>>) -> Vec<(String, SourceStanding)> {
    let shards = of_shards.len();
    // What comes behind the last name of a full list is not known of its shard.
    let full = of_shards.iter().filter(|listed| listed.len() >= MAX_LISTED_SOURCES);
    let last = full.filter_map(|listed| Some(listed.last()?.0.clone())).min();
    let mut stand: BTreeMap<String, Vec<SourcePosition>> = BTreeMap::new();
    for (name, at) in of_shards.into_iter().flatten() {
        if last.as_ref().is_none_or(|last| name <= *last) {
            stand.entry(name).or_default().push(at);
        }
    }
    let standing = |(name, mut stand): (String, Vec<SourcePosition>)| {
        stand.resize(shards, SourcePosition::default());
        Some((name, SourceStanding::of_shards(stand)?))
    };
    stand.into_iter().filter_map(standing).take(MAX_LISTED_SOURCES).collect()
}

#[cfg(test)]
mod tests {
    use model::{SourcePosition, SourceStanding};

    use super::standings;

    #[test]
    fn a_source_stands_where_the_shard_stands_that_has_the_least_of_it() {
        let at = |position| SourcePosition { position, check: None };
        let listed = |sources: &[(&str, u64)]| {
            sources.iter().map(|(name, position)| ((*name).to_owned(), at(*position))).collect::<Vec<_>>()
        };
        let found = standings(vec![listed(&[("a", 5), ("b", 7), ("c", 9)]), listed(&[("a", 5), ("b", 3)])]);
        let standing =
            |name: &str, position, parts_end_at| (name.to_owned(), SourceStanding { at: at(position), parts_end_at });
        assert_eq!(found, [standing("a", 5, vec![]), standing("b", 3, vec![7]), standing("c", 0, vec![9])]);
    }

    #[test]
    fn of_a_shard_that_lists_all_it_may_no_source_behind_the_last_is_told() {
        let many: Vec<_> =
            (0..super::MAX_LISTED_SOURCES).map(|n| (format!("a{n:04}"), SourcePosition::default())).collect();
        let found = standings(vec![many, vec![("b".to_owned(), SourcePosition::default())]]);
        assert_eq!(found.last().unwrap().0, "a0999");
    }
}
