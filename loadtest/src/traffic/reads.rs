//! Reads counts, and checks them against the ledger.

use goose::prelude::*;
use model::{HourCounts, SiteName, Timestamp};
use reqwest::StatusCode;

use super::{Counter, Source, Traffic, messages::Message, replies::Reply, retries::Exchanged};
use crate::{
    checks::{bounds::Bounds, daemon::causes, sightings::When},
    measured::series::Outcome,
    workload::{
        kind::{Age, Kind},
        phases::Phase,
        schedule::Due,
        sites::SiteHour,
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
        let silent = if ledger.is_of_a_part() { self.silent(kind.age, hour) } else { None };
        let silent = silent.map(|when| (ledger.sent(hour).acknowledged.count(when.kind), when));
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
            Ok(counts) => {
                if let Some((acknowledged, when)) = silent {
                    let counted = counts.count(when.kind);
                    ledger.saw(when, acknowledged, counted);
                }
                let bounds = Bounds { least, most: ledger.bounds(hour).most };
                let faults: Vec<String> = bounds.faults(counts).iter().map(ToString::to_string).collect();
                (!faults.is_empty()).then(|| faults.join("; "))
            }
            // The status is 200, so a client would believe the answer.
            Err(error) => Some(error.to_string()),
        };
        self.record(kind, Outcome::Answered, due);
        let is_right = fault.is_none();
        let told = || format!("{}{}", self.requests.sites.describe(hour), hosts.told(host));
        self.recorder.lock().record_read(fault.map(|fault| format!("{}: {fault}", told())));
        Ok(is_right)
    }

    /// When this is, if none of one kind of event is on its way to this hour. All parts of a run read the current hour
    /// many times a second, so they have it in common, and others seldom.
    fn silent(&self, age: Age, SiteHour { site, hour }: SiteHour) -> Option<When> {
        let (Source::Mix(mix), Age::Current) = (&self.source, age) else { return None };
        let now = Timestamp::now();
        let site = self.requests.sites.name(site).map(SiteName::to_string);
        mix.silent(now).map(|kind| When { phase: Phase::at(now), kind, site, hour })
    }
}
