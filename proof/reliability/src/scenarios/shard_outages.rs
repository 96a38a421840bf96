//! What clients may see while one database of several is away.

use std::time::{Duration, Instant};

use model::ShardCount;

use crate::{
    operation::{Action, Operation, Outcome},
    report::Report,
};

/// How long a lane of the daemon that had nothing to store may take to notice that the database is back.
const GRACE: Duration = Duration::from_secs(5);
/// The most lines of evidence.
const SHOWN: usize = 10;
/// Single events of the other shards wait for nothing that is away.
const LONGEST_WAIT_OF_OTHERS: Duration = Duration::from_secs(5);

/// Nothing can reach a database from one instant to another, and no sooner than that does every lane store again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) shard: usize,
    /// When the fault was about to be injected, and when it surely was.
    pub(crate) begins: Instant,
    pub(crate) from: Instant,
    /// When the fault was about to be taken back, and when the daemon stored there again.
    pub(crate) to: Instant,
    pub(crate) over: Instant,
}

/// While a database is away, nothing of its visitors is acknowledged and no hour is read, since every hour has a part of it. Of
/// the other visitors no event is refused or waits.
pub(crate) fn judge(report: &mut Report, operations: &[Operation], shards: ShardCount, outages: &[Outage]) {
    let mut broken = Vec::new();
    let (mut went_on, mut slowest) = (vec![0_u64; outages.len()], Duration::ZERO);
    for operation in operations {
        let within = outages.iter().position(|it| operation.began > it.from && operation.ended < it.to);
        match &operation.action {
            Action::Send { events, outcome } if events.len() == 1 => {
                let shard = shards.shard_of(&events[0].event.user);
                let may_fail = outages
                    .iter()
                    .any(|it| it.shard == shard && operation.ended >= it.begins && operation.began <= it.over + GRACE);
                if !may_fail && *outcome != Outcome::Acknowledged {
                    broken.push(format!("shard {shard} was there, and {operation:?}"));
                }
                if let Some(outage) = within {
                    if outages[outage].shard != shard {
                        went_on[outage] += u64::from(*outcome == Outcome::Acknowledged);
                        slowest = slowest.max(operation.took());
                    } else if *outcome == Outcome::Acknowledged {
                        broken.push(format!("shard {shard} was away, and {operation:?}"));
                    }
                }
            }
            Action::Read { counts: Some(_), .. } if within.is_some() => {
                broken.push(format!("an hour was read without a shard: {operation:?}"));
            }
            _ => {}
        }
    }
    let all = broken.len();
    broken.truncate(SHOWN);
    for evidence in broken {
        report.broke(evidence);
    }
    report.promise(all <= SHOWN, format_args!("and {} more like these", all.saturating_sub(SHOWN)));
    if shards != ShardCount::ONE {
        let fewest = went_on.iter().min().copied().unwrap_or_default();
        report.promise(fewest > 0, "while a shard was away, no event of the others was acknowledged");
        report.promise(
            slowest <= LONGEST_WAIT_OF_OTHERS,
            format_args!("an event of a shard that was there waited {slowest:?} while another was away"),
        );
        let (stored, slowest) = (went_on.iter().sum::<u64>(), slowest.as_millis());
        report
            .notes
            .push(format!("{stored} single events of other shards were stored meanwhile, in {slowest} ms at most"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::{Event, EventKind, HourCounts, ShardCount, SiteEvent, Timestamp, UserName};

    use super::{Outage, judge};
    use crate::{
        operation::{Action, Operation, Outcome},
        report::Report,
    };

    #[test]
    fn only_the_visitors_of_a_shard_that_is_away_are_refused_and_nobody_reads_without_it() {
        let (origin, shards) = (Instant::now(), ShardCount::new(2).unwrap());
        let at = |seconds| origin + Duration::from_secs(seconds);
        let outage = Outage { shard: 1, begins: at(9), from: at(10), to: at(20), over: at(21) };
        let user = |shard| {
            let mut names = (0..).map(|number| UserName::new(format!("user-{number}")).unwrap());
            names.find(|user| shards.shard_of(user) == shard).unwrap()
        };
        let event =
            |shard| SiteEvent::nameless(Event { at: Timestamp::MIN, user: user(shard), kind: EventKind::Click });
        let operation = |second, action| Operation { client: 0, began: at(second), ended: at(second + 1), action };
        let send = |second, shard, outcome| operation(second, Action::Send { events: vec![event(shard)], outcome });
        let read = |second| {
            let (hour, counts) = (event(0).site_hour(), Some(HourCounts::default()));
            operation(second, Action::Read { hour, counts })
        };
        let other_goes_on = send(12, 0, Outcome::Acknowledged);
        let judged = |of: Vec<Operation>| {
            let mut report = Report::new("judged");
            judge(&mut report, &of, shards, &[outage]);
            report.broken.len()
        };
        let kept = [
            send(11, 1, Outcome::Refused),
            send(23, 1, Outcome::Refused),
            send(5, 1, Outcome::Acknowledged),
            send(19, 1, Outcome::Acknowledged),
            read(8),
            read(20),
        ];
        for kept in kept {
            assert_eq!(judged(vec![other_goes_on.clone(), kept.clone()]), 0, "{kept:?}");
        }
        let broken = [
            send(11, 1, Outcome::Acknowledged),
            send(11, 0, Outcome::Refused),
            send(5, 1, Outcome::Refused),
            send(30, 1, Outcome::Refused),
            read(15),
        ];
        for broken in broken {
            assert_eq!(judged(vec![other_goes_on.clone(), broken.clone()]), 1, "{broken:?}");
        }
        assert_eq!(judged(vec![]), 1, "nobody tried");
    }
}
