use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::Context;
use db::{Auditor, Shards, Sites, Store};
use harness::{Daemon, PrivateServer};
use model::{
    EventKind, Hour, HourCounts, ShardCount, SiteHour, SiteId, SiteName, Timestamp, UserName, wire::ANALYTICS_PATH,
};
use serde::Serialize;

use crate::{
    history,
    ledger::{Key, Ledger, Multiset, Verdict},
    operation::{Action, Operation, Outcome},
    sabotage::Saboteur,
    traffic::Traffic,
};

/// 45 seconds are promised, the rest is for a busy machine.
const LONGEST_ANSWER: Duration = Duration::from_secs(50);

const PROTESTS_SHOWN: usize = 20;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub scenario: &'static str,
    /// Why the scenario could not run on this machine.
    pub skipped: Option<String>,
    /// In events, as the next four.
    pub tried: u64,
    /// Answered 204.
    pub acknowledged: u64,
    /// Answered 202.
    pub queued: u64,
    /// Answered with an error.
    pub refused: u64,
    /// Not answered before the connection died.
    pub unknown: u64,
    /// Reads that were answered and checked against the history.
    pub reads: u64,
    /// Faults injected.
    pub faults: u64,
    /// How often a database server crashed under load.
    pub crashes: u64,
    /// Acknowledged events that are not stored.
    pub lost: u64,
    /// Stored events that were refused or never sent.
    pub phantoms: u64,
    pub slowest_millis: u64,
    /// For people.
    pub notes: Vec<String>,
    /// Broken promises, with the evidence.
    pub broken: Vec<String>,
}

impl Report {
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, ..Self::default() }
    }

    pub(crate) fn skipped(scenario: &'static str, why: impl Into<String>) -> Self {
        Self { scenario, skipped: Some(why.into()), ..Self::default() }
    }

    /// The sums of several reports.
    pub fn sum(reports: &[Self]) -> Self {
        let mut all = Self::new("all");
        for report in reports {
            all.add_numbers(report);
        }
        all
    }

    /// Adds what another round of the same scenario found.
    pub(crate) fn add(&mut self, round: Self) {
        self.add_numbers(&round);
        self.notes.extend(round.notes);
        self.broken.extend(round.broken);
    }

    fn add_numbers(&mut self, other: &Self) {
        self.tried += other.tried;
        self.acknowledged += other.acknowledged;
        self.queued += other.queued;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.reads += other.reads;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.phantoms += other.phantoms;
        self.slowest_millis = self.slowest_millis.max(other.slowest_millis);
    }

    /// Notes how often something happened, and the shortest and the longest time that it took.
    pub(crate) fn note_times(&mut self, what: &str, times: &[Duration]) {
        let seconds = |time: Option<&Duration>| time.copied().unwrap_or_default().as_secs_f64();
        let (shortest, longest) = (seconds(times.iter().min()), seconds(times.iter().max()));
        self.notes.push(match times.len() {
            1 => format!("{what}: {longest:.1} s"),
            count => format!("{what}: {shortest:.1} to {longest:.1} s, {count} times"),
        });
    }

    pub(crate) fn broke(&mut self, evidence: impl Display) {
        self.broken.push(evidence.to_string());
    }

    pub(crate) fn promise(&mut self, kept: bool, evidence: impl Display) {
        if !kept {
            self.broke(evidence);
        }
    }

    /// Stops the clients, audits, and returns what the clients did.
    pub(crate) async fn stop_and_audit(
        &mut self,
        traffic: Traffic,
        server: &PrivateServer,
        daemons: &[&Daemon],
    ) -> anyhow::Result<Vec<Operation>> {
        let operations = traffic.stop().await?;
        self.audit(server.store(), &Saboteur::connect(server.url()).await?, daemons, &operations).await?;
        Ok(operations)
    }

    /// Compares the answers that clients got with what is stored, and the counts of each daemon with a count over the
    /// raw events. To be called when the clients have stopped and the database answers.
    pub(crate) async fn audit(
        &mut self,
        store: &Store,
        saboteur: &Saboteur,
        daemons: &[&Daemon],
        operations: &[Operation],
    ) -> anyhow::Result<()> {
        saboteur.wait_for_rest().await?;
        self.audit_database(store, operations).await?;
        self.audit_answers(store, daemons).await?;
        self.audit_waits(operations);
        self.audit_deadlocks(saboteur).await
    }

    /// The same for a counter of several databases: each event is in that of its visitor, and each daemon counts what is
    /// in all of them.
    pub(crate) async fn audit_shards(
        &mut self,
        shards: &Shards,
        urls: &[String],
        daemons: &[&Daemon],
        operations: &[Operation],
    ) -> anyhow::Result<()> {
        let mut saboteurs = Vec::new();
        for url in urls {
            saboteurs.push(Saboteur::connect_when_up(url).await?);
        }
        for saboteur in &saboteurs {
            saboteur.wait_for_rest().await?;
        }
        let stored = self.placed(shards).await?;
        let verdict = self.judge_stored(&stored, operations);
        self.promise(verdict.is_clean(), &verdict);
        self.audit_counts_of_shards(shards, daemons, &stored).await?;
        for violation in history::violations(operations) {
            self.broke(violation);
        }
        self.audit_waits(operations);
        for saboteur in &saboteurs {
            self.audit_deadlocks(saboteur).await?;
        }
        Ok(())
    }

    /// Each event must be in the database of its visitor.
    pub async fn audit_places(&mut self, shards: &Shards) -> anyhow::Result<()> {
        self.placed(shards).await.map(drop)
    }

    /// The same, and all that is stored.
    pub(crate) async fn placed(&mut self, shards: &Shards) -> anyhow::Result<Multiset> {
        let mut all = Multiset::new();
        for (shard, store) in shards.iter().enumerate() {
            let mut of_shard: u64 = 0;
            for (key, count) in stored(store).await? {
                let place = shards.count().shard_of(&key.user);
                self.promise(
                    place == shard,
                    format_args!("{count} × {key:?} are in shard {shard} and must be in {place}"),
                );
                of_shard += count;
                *all.entry(key).or_default() += count;
            }
            self.promise(of_shard > 0, format_args!("shard {shard} has no event, so nothing was tried"));
        }
        Ok(all)
    }

    /// Compares the counts of each database with its raw events, and those of each daemon with all of them.
    pub(crate) async fn audit_counts_of_shards(
        &mut self,
        shards: &Shards,
        daemons: &[&Daemon],
        stored: &Multiset,
    ) -> anyhow::Result<()> {
        for store in shards.iter() {
            self.audit_counts(store).await?;
        }
        for (it, expected) in counted(stored) {
            for daemon in daemons {
                self.compare(daemon.url(), it, expected, counts_of(daemon, it.hour, None).await);
            }
        }
        Ok(())
    }

    fn audit_waits(&mut self, operations: &[Operation]) {
        if let Some(slowest) = operations.iter().max_by_key(|operation| operation.took()) {
            let (client, took, action) = (slowest.client, slowest.took(), &slowest.action);
            self.promise(
                took <= LONGEST_ANSWER,
                format_args!("client {client} waited {took:?} for the end of {action:?}"),
            );
        }
    }

    async fn audit_deadlocks(&mut self, saboteur: &Saboteur) -> anyhow::Result<()> {
        let deadlocks = saboteur.deadlocks().await?;
        self.promise(deadlocks == 0, format_args!("the database broke {deadlocks} deadlocks"));
        Ok(())
    }

    /// Compares the counts of each daemon with the raw events.
    pub(crate) async fn audit_answers(&mut self, store: &Store, daemons: &[&Daemon]) -> anyhow::Result<()> {
        let names: HashMap<SiteId, String> =
            Sites(store).list().await?.into_iter().map(|site| (site.id, site.name)).collect();
        for (it, expected) in store.brute_force_counts().await? {
            let name = names.get(&it.site).map(String::as_str);
            for daemon in daemons.iter().filter(|_| name.is_some() || it.site == SiteId::NAMELESS) {
                self.compare(daemon.url(), it, expected, counts_of(daemon, it.hour, name).await);
            }
        }
        Ok(())
    }

    /// The part of the audit that needs no daemon.
    pub async fn audit_database(&mut self, store: &Store, operations: &[Operation]) -> anyhow::Result<()> {
        let verdict = self.judge(store, operations).await?;
        self.promise(verdict.is_clean(), &verdict);
        self.audit_counts(store).await?;
        for violation in history::violations(operations) {
            self.broke(violation);
        }
        Ok(())
    }

    /// Notes what the clients saw, and what of that contradicts what is stored.
    pub(crate) async fn judge(&mut self, store: &Store, operations: &[Operation]) -> anyhow::Result<Verdict> {
        Ok(self.judge_stored(&stored(store).await?, operations))
    }

    /// The same, of what is stored in one database or several.
    pub(crate) fn judge_stored(&mut self, stored: &Multiset, operations: &[Operation]) -> Verdict {
        let ledger = Ledger::of(operations);
        self.note_totals(&ledger, operations);
        self.note_protests(operations);
        let verdict = ledger.verdict(stored);
        self.lost = verdict.lost();
        self.phantoms = verdict.phantoms();
        verdict
    }

    /// Compares the counts of the database with the raw events.
    pub(crate) async fn audit_counts(&mut self, store: &Store) -> anyhow::Result<()> {
        for (hour, expected) in store.brute_force_counts().await? {
            let seen = store.counts(&[hour]).await.map(|counts| counts[0]);
            self.compare("the database", hour, expected, seen.map_err(Into::into));
        }
        self.audit_derived(store).await
    }

    /// Compares counters, users and the aggregate with the raw events, also in hours without any.
    async fn audit_derived(&mut self, store: &Store) -> anyhow::Result<()> {
        let auditor = Auditor::connect(store).await?;
        let everything = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
        for part in auditor.parts(&everything).await? {
            for audited in auditor.audit(&part, None).await? {
                for difference in audited.differences() {
                    self.broke(format_args!("{}: {difference}: {audited:?}", audited.site_hour));
                }
            }
        }
        Ok(())
    }

    fn note_protests(&mut self, operations: &[Operation]) {
        let protests = operations.iter().filter_map(|operation| match &operation.action {
            Action::Protest { why } => Some((operation.client, why)),
            Action::Send { .. } | Action::Read { .. } | Action::Disturb { .. } => None,
        });
        let protests: Vec<_> = protests.collect();
        for (client, why) in protests.iter().take(PROTESTS_SHOWN) {
            self.broke(format_args!("client {client} got an answer that is not promised; it {why}"));
        }
        if let Some(more) = protests.len().checked_sub(PROTESTS_SHOWN).filter(|more| *more > 0) {
            self.broke(format_args!("and {more} more answers that are not promised"));
        }
    }

    fn compare(&mut self, who: &str, hour: SiteHour, expected: HourCounts, seen: anyhow::Result<HourCounts>) {
        match seen {
            Ok(seen) => self.promise(
                seen == expected,
                format_args!("{who} counts {seen:?} for {hour}, but the raw events are {expected:?}"),
            ),
            Err(error) => self.broke(format_args!("{who} did not return the counts of {hour} at rest: {error:#}")),
        }
    }

    fn note_totals(&mut self, ledger: &Ledger, operations: &[Operation]) {
        let totals = ledger.totals();
        self.acknowledged = totals.acknowledged;
        self.queued = totals.queued;
        self.refused = totals.refused;
        self.unknown = totals.unknown;
        self.tried = totals.acknowledged + totals.queued + totals.refused + totals.unknown;
        self.reads = history::answered_reads(operations);
        self.slowest_millis = slowest(operations).as_millis().try_into().unwrap_or(u64::MAX);
        if ledger.unsent() > 0 {
            self.notes.push(format!("{} events were not sent for want of a connection", ledger.unsent()));
        }
    }

    /// For tests.
    pub fn assert_kept(&self, seed: u64) {
        if let Some(why) = &self.skipped {
            eprintln!("SKIPPED: {}: {why}", self.scenario);
            return;
        }
        eprintln!("seed {seed}: {self:#?}");
        assert!(self.broken.is_empty(), "{} with seed {seed}:\n{}", self.scenario, self.broken.join("\n"));
        assert!(self.acknowledged > 0 && self.faults > 0, "{} with seed {seed} tried nothing", self.scenario);
    }
}

async fn counts_of(daemon: &Daemon, hour: Hour, site: Option<&str>) -> anyhow::Result<HourCounts> {
    let site = site.map(|name| format!("&{}={name}", SiteName::PARAMETER)).unwrap_or_default();
    let path = format!("{ANALYTICS_PATH}?{}={}{site}", Timestamp::PARAMETER, hour.start().millis());
    let response = daemon.get(&path).await;
    let (status, body) = (response.status(), response.text().await?);
    body.parse().with_context(|| format!("it answered {status}: {body:?}"))
}

pub(crate) async fn stored(store: &Store) -> anyhow::Result<Multiset> {
    let events = store.stored_events().await?;
    Ok(events.into_iter().map(|(hour, kind, user, count)| (Key { hour, kind, user }, count)).collect())
}

/// The name of a metric of a shard; those of a counter of one database have no label.
pub(crate) fn of_shard(metric: &str, shard: usize, shards: ShardCount) -> String {
    if shards == ShardCount::ONE { metric.to_owned() } else { format!("{metric}{{shard=\"{shard}\"}}") }
}

/// The counts of each hour, by brute force.
fn counted(stored: &Multiset) -> BTreeMap<SiteHour, HourCounts> {
    let mut counts: BTreeMap<SiteHour, HourCounts> = BTreeMap::new();
    let mut users: BTreeMap<SiteHour, HashSet<&UserName>> = BTreeMap::new();
    for (key, count) in stored {
        let of_hour = counts.entry(key.hour).or_default();
        match key.kind {
            EventKind::Click => of_hour.clicks += count,
            EventKind::Impression => of_hour.impressions += count,
        }
        users.entry(key.hour).or_default().insert(&key.user);
    }
    for (hour, users) in users {
        counts.entry(hour).or_default().unique_users = users.len() as u64;
    }
    counts
}

pub(crate) fn slowest<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Duration {
    operations.into_iter().map(Operation::took).max().unwrap_or_default()
}

/// The longest time without an acknowledged write from one instant to another.
pub(crate) fn longest_without_writes(operations: &[Operation], from: Instant, to: Instant) -> Duration {
    let acknowledged = operations.iter().filter(|operation| operation.outcome() == Some(Outcome::Acknowledged));
    let mut ended: Vec<Instant> =
        acknowledged.map(|operation| operation.ended).filter(|at| (from..to).contains(at)).collect();
    ended.push(to);
    ended.sort_unstable();
    let begins = [from].into_iter().chain(ended.iter().copied());
    begins.zip(&ended).map(|(begin, end)| end.duration_since(begin)).max().unwrap_or_default()
}

/// Leaves out what was read while a primary was being killed. A commit that waits for the standby stops waiting when the
/// main process is gone, and sessions that have not noticed yet show it, though the standby may not have it.
pub(crate) fn leave_out_reads(operations: &mut Vec<Operation>, kills: &[(Instant, Instant)]) {
    let is_within =
        |operation: &Operation| kills.iter().any(|&(from, to)| operation.ended >= from && operation.began <= to);
    operations.retain(|operation| !matches!(operation.action, Action::Read { .. }) || !is_within(operation));
}

pub(crate) fn writes_begun_within(
    operations: &[Operation],
    from: Instant,
    to: Instant,
) -> impl Iterator<Item = &Operation> {
    operations
        .iter()
        .filter(move |operation| operation.began >= from && operation.began <= to)
        .filter(|operation| matches!(operation.action, Action::Send { .. }))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::longest_without_writes;
    use crate::operation::{Action, Operation, Outcome};

    #[test]
    fn the_longest_time_without_writes_lies_between_two_acknowledgements_or_at_an_end() {
        let origin = Instant::now();
        let at = |millis| origin + Duration::from_millis(millis);
        let operation = |ended, outcome| Operation {
            client: 0,
            began: origin,
            ended: at(ended),
            action: Action::Send { events: Vec::new(), outcome },
        };
        let between = |ended: &[u64]| {
            let mut operations: Vec<_> = ended.iter().map(|&ended| operation(ended, Outcome::Acknowledged)).collect();
            operations.push(operation(50, Outcome::Refused));
            longest_without_writes(&operations, at(10), at(100)).as_millis()
        };
        assert_eq!(between(&[]), 90);
        assert_eq!(between(&[20, 90]), 70);
        assert_eq!(between(&[90, 20, 60]), 40);
        assert_eq!(between(&[80, 95]), 70);
        assert_eq!(between(&[5, 15, 40, 200]), 60);
    }
}
