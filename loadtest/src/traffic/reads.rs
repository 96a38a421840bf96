//! Reads counts, and checks them against the ledger.

use goose::prelude::*;
use model::{Hour, HourCounts, SiteName, Timestamp};
use reqwest::StatusCode;

use super::{Counter, Source, Traffic, messages::Message, replies::Reply, retries::Exchanged};
use crate::{
    checks::{
        bounds::Bounds,
        daemon::{Daemon, causes},
        ledger::Ledger,
        sightings::When,
    },
    measured::series::Outcome,
    workload::{
        kind::{Age, Kind},
        schedule::Due,
        sites::{Site, SiteHour},
    },
};

impl Traffic {
    /// Gets the counts of an hour. True if they are right.
    pub(super) async fn ask(
        &self,
        user: &mut GooseUser,
        kind: Kind,
        hour: SiteHour,
        due: Due,
        other_than: Option<usize>,
    ) -> Result<bool, Box<TransactionError>> {
        let Counter { hosts, ledger } = self.counters.of(due.side);
        let least = ledger.bounds(hour).least;
        let silent = self.silent(ledger, kind.age, hour);
        let message = Message::get(kind, self.requests.counts(hour));
        let Exchanged { answer, host, .. } = self.retries.exchange(user, hosts, &message, other_than).await?;
        let body = match answer {
            Ok(Reply { status: StatusCode::OK, body }) => body,
            Ok(reply) => {
                self.record(kind, Outcome::Refused, due);
                self.recorder.lock().complain(|| format!("{kind} was answered {}", reply.told()));
                return Ok(false);
            }
            Err(error) => {
                self.record(kind, Outcome::Unanswered, due);
                self.recorder.lock().complain(|| format!("{kind} got no answer: {}", causes(&error)));
                return Ok(false);
            }
        };
        let fault = match body.parse::<HourCounts>() {
            Ok(counts) => judged(ledger, hour, least, silent, counts),
            // The status is 200, so a client would believe the answer.
            Err(error) => Some(error.to_string()),
        };
        self.record(kind, Outcome::Answered, due);
        let is_right = fault.is_none();
        let told = || format!("{}{}", self.requests.sites.describe(hour), hosts.told(host));
        self.recorder.lock().record_read(fault.map(|fault| format!("{}: {fault}", told())));
        Ok(is_right)
    }

    /// Reads the current hour of a site, in a part of a run: so that all parts read it while no event of one kind is on its
    /// way, however few requests they make.
    pub(crate) async fn look(&self, daemon: &Daemon, site: Site) {
        let hour = SiteHour { site, hour: Hour::containing(Timestamp::now()) };
        let ledger = &self.counters.new.ledger;
        let least = ledger.bounds(hour).least;
        let silent = self.silent(ledger, Age::Current, hour);
        // Requests of the load tell of a daemon that does not answer.
        let Ok(counts) = daemon.counts(&self.requests, hour).await else { return };
        let fault = judged(ledger, hour, least, silent, counts);
        let told = |fault| format!("{}: {fault}", self.requests.sites.describe(hour));
        self.recorder.lock().record_read(fault.map(told));
    }

    /// When this is, if none of one kind of event is on its way to this hour, and how many of that kind are acknowledged.
    /// All parts of a run read the current hour again and again, so they have it in common, and others seldom.
    fn silent(&self, ledger: &Ledger, age: Age, hour: SiteHour) -> Option<(When, u64)> {
        let (true, Source::Mix(mix), Age::Current) = (ledger.is_of_a_part(), &self.source, age) else { return None };
        let (kind, since) = mix.silent(Timestamp::now())?;
        let site = self.requests.sites.name(hour.site).map(SiteName::to_string);
        Some((When { phase: since, kind, site, hour: hour.hour }, ledger.sent(hour).acknowledged.count(kind)))
    }
}

/// What is wrong with counts that were read when at least so much had to be counted. Keeps them for the other parts of
/// the run.
fn judged(
    ledger: &Ledger,
    hour: SiteHour,
    least: HourCounts,
    silent: Option<(When, u64)>,
    counts: HourCounts,
) -> Option<String> {
    if let Some((when, acknowledged)) = silent {
        let counted = counts.count(when.kind);
        ledger.saw(when, acknowledged, counted);
    }
    let bounds = Bounds { least, most: ledger.bounds(hour).most };
    let faults: Vec<String> = bounds.faults(counts).iter().map(ToString::to_string).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}
