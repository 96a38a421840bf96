use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use db::{Flavour, SettleOutcome, Settler, Store};
use harness::{TestDatabase, on_both_flavours};
use model::{EventKind, Hour, HourCounts, SiteEvent, SiteHour, Timestamp};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Handle;

use crate::support::{self, assert_counts_equal_brute_force, settler, site, store_all, writer};

on_both_flavours!(after_any_sequence_of_events_settling_and_reopening_counts_equal_the_model);

const CASES: u32 = 24;
const HOURS: i64 = 3;
/// Visitors have the same names in all of them.
const SITES: i32 = 3;
const HOUR_MILLIS: i64 = 3_600_000;

#[derive(Debug, Clone)]
enum Step {
    Store(Vec<(i64, i32, u8, bool)>),
    /// An hour of some sites.
    Settle(i64, Vec<i32>),
    Reopen(i64, Vec<i32>),
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0..HOURS * HOUR_MILLIS, 0..SITES, 0..5_u8, any::<bool>());
    let sites = || prop::sample::subsequence((0..SITES).collect::<Vec<_>>(), 1..=3);
    prop_oneof![
        3 => prop::collection::vec(event, 1..8).prop_map(Step::Store),
        2 => (0..HOURS, sites()).prop_map(|(hour, sites)| Step::Settle(hour, sites)),
        1 => (0..HOURS, sites()).prop_map(|(hour, sites)| Step::Reopen(hour, sites)),
    ]
}

/// What should be counted, kept in the simplest way there is.
#[derive(Default)]
struct Model {
    counted: BTreeMap<SiteHour, (BTreeSet<String>, u64, u64)>,
    open: BTreeSet<SiteHour>,
}

impl Model {
    fn add(&mut self, added: &SiteEvent) {
        self.open.insert(added.site_hour());
        let (users, clicks, impressions) = self.counted.entry(added.site_hour()).or_default();
        users.insert(added.event.user.to_string());
        match added.event.kind {
            EventKind::Click => *clicks += 1,
            EventKind::Impression => *impressions += 1,
        }
    }

    fn counts(&self, hour: SiteHour) -> HourCounts {
        self.counted.get(&hour).map_or_else(HourCounts::default, |(users, clicks, impressions)| HourCounts {
            unique_users: users.len() as u64,
            clicks: *clicks,
            impressions: *impressions,
        })
    }
}

fn event(millis: i64, number: i32, user: u8, click: bool) -> SiteEvent {
    let kind = if click { EventKind::Click } else { EventKind::Impression };
    let event = support::event(Timestamp::from_millis(millis).unwrap(), &format!("user-{user}"), kind);
    SiteEvent { site: site(number), ..event }
}

/// Takes the steps one after the other, from an hour on that no other case touches.
async fn take(store: &Store, settler: &Settler, base: i64, steps: &[Step]) -> Result<(), TestCaseError> {
    let hour_at = |n: i64| Hour::containing(Timestamp::from_millis(base + n * HOUR_MILLIS).unwrap());
    let of_sites = |n: i64| (0..SITES).map(move |number| SiteHour { hour: hour_at(n), site: site(number) });
    let hours: Vec<SiteHour> = (0..HOURS).flat_map(of_sites).collect();
    let numbered = |numbers: &[i32]| numbers.iter().map(|&number| site(number)).collect::<Vec<_>>();
    let mut writer = writer(store);
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Store(events) => {
                let events: Vec<SiteEvent> =
                    events.iter().map(|&(at, site, user, click)| event(base + at, site, user, click)).collect();
                store_all(&mut writer, &events).await;
                for event in &events {
                    model.add(event);
                }
            }
            Step::Settle(n, sites) => {
                let outcomes = settler.settle(hour_at(*n), &numbered(sites)).await.unwrap();
                let came_of: BTreeMap<_, _> = outcomes.into_iter().collect();
                let hour = hour_at(*n);
                let were_open = numbered(sites).into_iter().filter(|&site| model.open.remove(&SiteHour { hour, site }));
                let expected = were_open.map(|site| (site, SettleOutcome::Settled)).collect();
                prop_assert_eq!(came_of, expected, "after step {}, {:?}", number, step);
            }
            Step::Reopen(n, sites) => {
                let missing = store.reopen(hour_at(*n), &numbered(sites)).await.unwrap();
                prop_assert_eq!(missing, [], "after step {}, {:?}", number, step);
                let reopened = sites.iter().map(|&number| SiteHour { hour: hour_at(*n), site: site(number) });
                model.open.extend(reopened.filter(|hour| model.counted.contains_key(hour)));
            }
        }
        let expected: Vec<HourCounts> = hours.iter().map(|&hour| model.counts(hour)).collect();
        prop_assert_eq!(store.counts(&hours).await.unwrap(), expected, "after step {}, {:?}", number, step);
    }
    Ok(())
}

/// What happens when the steps are taken at the same time is the business of the crate `reliability`.
async fn after_any_sequence_of_events_settling_and_reopening_counts_equal_the_model(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store().clone();
    let settler = settler(&store).await;
    let runtime = Handle::current();
    // The runner calls each case and waits for it, so it needs a thread that may block. It prints the shortest sequence that fails.
    let ran = tokio::task::spawn_blocking(move || {
        // Sequences of a database that is gone are no regressions to keep in a file.
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        // Every case has hours of its own, some of them on either side of midnight; so has every try to shorten one.
        let next_base = Cell::new(1_431_820_800_000);
        TestRunner::new(config).run(&prop::collection::vec(step(), 1..16), |steps| {
            let base = next_base.replace(next_base.get() + 22 * HOUR_MILLIS);
            runtime.block_on(take(&store, &settler, base, &steps))
        })
    });
    if let Err(failure) = ran.await.unwrap() {
        panic!("{failure}");
    }
    assert_counts_equal_brute_force(database.store()).await;
}
