use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use model::{Hour, HourCounts, SiteName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    checks::{
        bounds::{Bounds, Rules, Sent},
        daemon::Daemon,
        ledger::Ledger,
        sightings::{Sightings, When},
    },
    requests::Requests,
    workload::sites::{SiteHour, Sites},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Verdict {
    rules: Rules,
    pub(crate) acknowledged: u64,
    /// Events that were not answered, which may be stored or not.
    pub(crate) open: u64,
    pub(crate) hours: Vec<HourVerdict>,
    /// What a part saw while it ran. None once the parts are judged.
    #[serde(default)]
    sightings: Sightings,
    /// How many of those all parts had in common.
    #[serde(default)]
    pub(crate) compared: usize,
    /// What was missing in these, in words.
    #[serde(default)]
    pub(crate) late: Vec<String>,
    /// Why not all hours could be checked.
    pub(crate) unverified: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HourVerdict {
    /// Who counted it. None if there is only one.
    host: Option<String>,
    /// None for the one without a name.
    site: Option<String>,
    hour: Hour,
    sent: Sent,
    /// None if the host did not tell.
    counts: Option<HourCounts>,
    #[serde(flatten)]
    bounds: Bounds,
    /// In words.
    pub(crate) faults: Vec<String>,
}

/// The host, the site and the hour.
type Key = (Option<String>, Option<String>, Hour);

/// More events than any run sends, or any counter has counted.
const MOST: u64 = 1 << 53;

#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum NotTogether {
    #[error("one replays a file and the other does not")]
    OtherRules,
    #[error("they loaded other hosts; give each part the same ones, in the same words")]
    OtherHosts,
    #[error("it was made without --part, so it takes the events of the other runs for faults")]
    NoPart,
}

impl HourVerdict {
    pub(crate) fn name(&self) -> String {
        let Self { host, site, hour, .. } = self;
        let site = site.iter().map(|site| format!("{site} "));
        let host = host.iter().map(|host| format!(" at {host}"));
        site.chain([hour.to_string()]).chain(host).collect()
    }
}

impl Verdict {
    /// Of ledgers whose hours are still to be checked.
    pub(crate) fn of<'a>(rules: Rules, ledgers: impl Iterator<Item = &'a Ledger>) -> Self {
        let mut verdict = Self {
            rules,
            acknowledged: 0,
            open: 0,
            hours: Vec::new(),
            sightings: Sightings::default(),
            compared: 0,
            late: Vec::new(),
            unverified: None,
        };
        for ledger in ledgers {
            let (acknowledged, open) = ledger.totals();
            verdict.acknowledged += acknowledged;
            verdict.open += open;
            verdict.sightings.merge(&ledger.sightings());
        }
        verdict
    }

    /// Compares what a host counts in every hour with what was sent. `name` tells the host from others.
    pub(crate) async fn check(
        &mut self,
        daemon: &Daemon,
        name: Option<&str>,
        requests: &Requests,
        sent: &[(SiteHour, Sent)],
    ) {
        let hours = sent.iter().map(|(hour, _)| *hour).collect();
        // What was wrong when it was read before stays so.
        let again = self.hours.iter().enumerate().map(|(place, hour)| (hour.key(), place));
        let again: BTreeMap<Key, usize> = again.collect();
        let mut answers = Box::pin(daemon.counts_of(requests, hours, true));
        let mut tells = true;
        for (hour, sent) in sent {
            // One that did not answer is not asked for hundreds of hours more.
            let counts = match if tells { answers.next().await } else { None } {
                Some((_, Ok(counts))) => Some(counts),
                Some((_, Err(error))) => {
                    self.unverified = Some(error.to_string());
                    tells = false;
                    None
                }
                None => None,
            };
            let site = requests.sites.name(hour.site).map(SiteName::to_string);
            let key: Key = (name.map(str::to_owned), site, hour.hour);
            match again.get(&key) {
                Some(&place) => self.hours[place].read_again(counts),
                None => self.hours.push(HourVerdict::new(key, self.rules, *sent, counts)),
            }
        }
    }

    /// Whether all is counted in the end.
    pub(crate) fn is_right(&self) -> bool {
        self.unverified.is_none() && self.hours.iter().all(|hour| hour.faults.is_empty())
    }

    /// Whether nothing is wrong but that hours count too much, which others may have sent.
    pub(crate) fn only_too_many(&self) -> bool {
        let lower = Rules { shared: true, ..self.rules };
        let only_too_many = |hour: &HourVerdict| {
            let has_all = hour.counts.is_some_and(|counts| hour.sent.bounds(lower).faults(counts).is_empty());
            // A part may have seen another one.
            has_all && hour.faults == hour.judge()
        };
        let mut wrong = self.hours.iter().filter(|hour| !hour.faults.is_empty()).peekable();
        self.unverified.is_none() && self.late.is_empty() && wrong.peek().is_some() && wrong.all(only_too_many)
    }

    /// Whether the numbers are so small that those of many runs can be added.
    pub(crate) fn is_possible(&self) -> bool {
        let sums = [self.acknowledged, self.open, self.sightings.most()];
        sums.into_iter().all(|sum| sum <= MOST) && self.hours.iter().all(|hour| hour.sent.most() <= MOST)
    }

    /// Adds that of another run at the same time. Of the counts that the two read at their ends the higher ones are
    /// taken: the last run to end read after both had sent everything, and a count never falls.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), NotTogether> {
        if !self.rules.part || !other.rules.part {
            return Err(NotTogether::NoPart);
        }
        if self.rules.strangers != other.rules.strangers {
            return Err(NotTogether::OtherRules);
        }
        let hosts = |verdict: &Self| verdict.hours.iter().map(|hour| hour.host.clone()).collect::<BTreeSet<_>>();
        if hosts(self) != hosts(other) {
            return Err(NotTogether::OtherHosts);
        }
        let mut others: BTreeMap<_, &HourVerdict> = other.hours.iter().map(|hour| (hour.key(), hour)).collect();
        for hour in &mut self.hours {
            if let Some(other) = others.remove(&hour.key()) {
                hour.sent.add(&other.sent, self.rules);
                // The one that did not read may have been the last to end.
                hour.counts = hour.counts.zip(other.counts).map(|(one, other)| higher(one, other));
                hour.faults.extend(other.faults.iter().cloned());
            }
        }
        self.hours.extend(others.into_values().cloned());
        self.sightings.merge(&other.sightings);
        self.rules.shared |= other.rules.shared;
        self.acknowledged += other.acknowledged;
        self.open += other.open;
        self.unverified = self.unverified.take().or_else(|| other.unverified.clone());
        Ok(())
    }

    /// Judges so many parts that were merged. No other part is missing, so that there is an upper bound.
    pub(crate) fn conclude(&mut self, parts: usize) {
        self.rules.part = false;
        let hours = self.hours.iter().map(|hour| ((&hour.site, hour.hour), hour.sent.before));
        let before: BTreeMap<_, HourCounts> = hours.collect();
        let before = |when: &When| before.get(&(&when.site, when.hour)).map_or(0, |before| before.count(when.kind));
        let judged: Vec<Option<String>> = std::mem::take(&mut self.sightings)
            .judge(parts, before)
            .map(|(when, fault)| fault.map(|fault| format!("{when} counted {fault}")))
            .collect();
        self.compared = judged.len();
        self.late = judged.into_iter().flatten().collect();
        for hour in &mut self.hours {
            hour.bounds = hour.sent.bounds(self.rules);
            hour.find_faults();
        }
    }

    /// What was sent for every hour, and the sites of these.
    pub(crate) fn sent(&self) -> (Sites, Vec<(SiteHour, Sent)>) {
        let mut sites: Vec<Option<String>> = Vec::new();
        let mut sent: BTreeMap<SiteHour, Sent> = BTreeMap::new();
        for hour in &self.hours {
            let known = sites.iter().position(|site| *site == hour.site);
            let place = known.unwrap_or_else(|| {
                sites.push(hour.site.clone());
                sites.len() - 1
            });
            let site = u32::try_from(place).expect("sites are few");
            // Each host has the same.
            sent.insert(SiteHour { site, hour: hour.hour }, hour.sent);
        }
        // Those of a report were names before.
        let sites = sites.into_iter().map(|site| site.and_then(|site| SiteName::new(site).ok())).collect();
        (Sites::new(sites), sent.into_iter().collect())
    }

    /// Forgets what was read and is right, so that it can be read again. What was wrong when the runs ended stays wrong.
    pub(crate) fn read_again(&mut self) {
        self.hours.retain(|hour| !hour.faults.is_empty());
        self.unverified = None;
    }
}

impl HourVerdict {
    fn new((host, site, hour): Key, rules: Rules, sent: Sent, counts: Option<HourCounts>) -> Self {
        let bounds = sent.bounds(rules);
        let mut verdict = Self { host, site, hour, sent, counts, bounds, faults: Vec::new() };
        verdict.find_faults();
        verdict
    }

    fn read_again(&mut self, counts: Option<HourCounts>) {
        self.counts = counts;
        self.find_faults();
    }

    /// Adds what is wrong to what was wrong before.
    fn find_faults(&mut self) {
        let found: Vec<String> = self.judge().into_iter().filter(|fault| !self.faults.contains(fault)).collect();
        self.faults.extend(found);
    }

    /// What is wrong with its counts, in words.
    fn judge(&self) -> Vec<String> {
        let faults = self.counts.map(|counts| self.bounds.faults(counts));
        faults.into_iter().flatten().map(|fault| fault.to_string()).collect()
    }

    fn key(&self) -> Key {
        (self.host.clone(), self.site.clone(), self.hour)
    }
}

fn higher(one: HourCounts, other: HourCounts) -> HourCounts {
    HourCounts {
        unique_users: one.unique_users.max(other.unique_users),
        clicks: one.clicks.max(other.clicks),
        impressions: one.impressions.max(other.impressions),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{Hour, HourCounts, Timestamp};

    use super::{HourVerdict, NotTogether, Verdict};
    use crate::checks::bounds::{Events, Rules, Sent, Strangers};

    /// Of a run that is a part of several or not, before an hour is read.
    pub(crate) fn verdict(part: bool) -> Verdict {
        let rules = Rules { strangers: Strangers::All, shared: false, part };
        Verdict::of(rules, std::iter::empty())
    }

    /// Of a part that sent so many clicks by as many visitors, and counted so many when it ended.
    fn part(sent: u64, before: u64, counted: u64) -> Verdict {
        let counts = |number| HourCounts { unique_users: number, clicks: number, impressions: 0 };
        let sent = Sent {
            before: counts(before),
            acknowledged: Events { clicks: sent, impressions: 0 },
            acknowledged_visitors: sent,
            open: Events::default(),
            visitors: sent,
        };
        let mut part = Verdict { acknowledged: sent.acknowledged.clicks, ..verdict(true) };
        let key = (None, None, Hour::containing(Timestamp::now()));
        part.hours.push(HourVerdict::new(key, part.rules, sent, Some(counts(counted))));
        part
    }

    fn merged(parts: [Verdict; 3]) -> Verdict {
        let mut parts = parts.into_iter();
        let mut merged = parts.next().unwrap();
        parts.for_each(|part| merged.merge(&part).unwrap());
        merged.conclude(3);
        merged
    }

    #[test]
    fn parts_count_together_from_what_was_before_the_first_to_what_the_last_read() {
        let merged = merged([part(10, 5, 36), part(20, 5, 36), part(6, 7, 41)]);
        assert!(merged.is_right(), "{:?}", merged.hours);
        assert_eq!(merged.acknowledged, 36);
    }

    #[test]
    fn one_event_too_many_or_too_few_of_all_parts_is_a_fault() {
        for (last, fault) in [(40, "1 missing"), (42, "1 too many")] {
            let merged = merged([part(10, 5, 36), part(20, 5, 36), part(6, 7, last)]);
            assert!(merged.hours[0].faults.iter().any(|text| text.contains(fault)), "{:?}", merged.hours);
        }
    }

    #[test]
    fn a_part_that_could_not_read_an_hour_tells_what_it_sent_and_what_was_before() {
        let mut first = part(10, 0, 10);
        (first.hours[0].counts, first.unverified) = (None, Some("no answer".to_owned()));
        let mut merged = merged([first, part(20, 5, 36), part(6, 7, 36)]);
        assert!(!merged.is_right() && merged.hours[0].faults.is_empty());
        assert_eq!(merged.sent().1[0].1.bounds(merged.rules).least.clicks, 36);
        merged.read_again();
        assert!(merged.is_right() && merged.hours.is_empty(), "it can be read again");
    }

    #[test]
    fn only_what_is_too_much_everywhere_may_be_of_others() {
        for (first, last, expected) in [(10, 37, true), (9, 37, false), (10, 36, false)] {
            // The first had acknowledged ten.
            let merged = merged([part(10, 0, first), part(20, 5, 36), part(6, 7, last)]);
            assert_eq!(merged.only_too_many(), expected, "{first} {last}");
        }
    }

    #[test]
    fn parts_that_name_their_hosts_otherwise_are_not_merged() {
        let mut other = part(1, 0, 1);
        other.hours[0].host = Some("http://other".to_owned());
        assert_eq!(part(1, 0, 1).merge(&other), Err(NotTogether::OtherHosts));
    }

    #[test]
    fn what_a_part_alone_saw_to_be_wrong_stays_wrong() {
        // It had acknowledged ten, and counted nine when it ended.
        assert!(!merged([part(10, 0, 9), part(20, 0, 36), part(6, 0, 36)]).is_right());
    }

    #[test]
    fn a_run_that_is_no_part_is_not_merged() {
        assert_eq!(part(1, 0, 1).merge(&verdict(false)), Err(NotTogether::NoPart));
    }
}
