use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use db::{Flavour, Reopened, SettleOutcome, Settler, Store};
use harness::{TestDatabase, on_both_flavours};
use model::{Event, EventKind, Hour, HourCounts, Timestamp, UserName};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Handle;

use crate::support::{assert_counts_equal_brute_force, settler, store_all, writer};

on_both_flavours!(after_any_sequence_of_events_settling_and_reopening_counts_equal_the_model);

const CASES: u32 = 24;
const HOURS: i64 = 3;
const HOUR_MILLIS: i64 = 3_600_000;

#[derive(Debug, Clone)]
enum Step {
    Store(Vec<(i64, u8, bool)>),
    Settle(i64),
    Reopen(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0..HOURS * HOUR_MILLIS, 0..5_u8, any::<bool>());
    prop_oneof![
        3 => prop::collection::vec(event, 1..8).prop_map(Step::Store),
        2 => (0..HOURS).prop_map(Step::Settle),
        1 => (0..HOURS).prop_map(Step::Reopen),
    ]
}

/// What should be counted, kept in the simplest way there is.
#[derive(Default)]
struct Model(BTreeMap<Hour, (BTreeSet<String>, u64, u64)>);

impl Model {
    fn add(&mut self, event: &Event) {
        let (users, clicks, impressions) = self.0.entry(event.hour()).or_default();
        users.insert(event.user.to_string());
        match event.kind {
            EventKind::Click => *clicks += 1,
            EventKind::Impression => *impressions += 1,
        }
    }

    fn counts(&self, hour: Hour) -> HourCounts {
        self.0.get(&hour).map_or_else(HourCounts::default, |(users, clicks, impressions)| HourCounts {
            unique_users: users.len() as u64,
            clicks: *clicks,
            impressions: *impressions,
        })
    }
}

fn event(millis: i64, user: u8, click: bool) -> Event {
    Event {
        at: Timestamp::from_millis(millis).unwrap(),
        user: UserName::new(format!("user-{user}")).unwrap(),
        kind: if click { EventKind::Click } else { EventKind::Impression },
    }
}

/// Takes the steps one after the other, from an hour on that no other case touches.
async fn take(store: &Store, settler: &Settler, base: i64, steps: &[Step]) -> Result<(), TestCaseError> {
    let hour_at = |n: i64| Hour::containing(Timestamp::from_millis(base + n * HOUR_MILLIS).unwrap());
    let hours: Vec<Hour> = (0..HOURS).map(hour_at).collect();
    let mut writer = writer(store);
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Store(events) => {
                let events: Vec<Event> =
                    events.iter().map(|&(at, user, click)| event(base + at, user, click)).collect();
                store_all(&mut writer, &events).await;
                for event in &events {
                    model.add(event);
                }
            }
            Step::Settle(n) => {
                let outcome = settler.settle(hour_at(*n)).await.unwrap();
                let expected = matches!(outcome, SettleOutcome::Settled | SettleOutcome::NotOpen);
                prop_assert!(expected, "{outcome:?} after step {number}, {step:?}");
            }
            Step::Reopen(n) => assert_eq!(store.reopen(hour_at(*n)).await.unwrap(), Reopened::Done),
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
