use std::collections::{BTreeMap, BTreeSet};

use db::{Flavour, SettleOutcome, Settler, Store};
use model::{Event, EventKind, Hour, HourCounts, Timestamp, UserName};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use testkit::{TestDatabase, on_both_flavours};
use tokio::task::JoinSet;

use crate::support::{assert_counts_equal_brute_force, settler, store_all, writer};

on_both_flavours!(
    after_any_sequence_of_events_settling_and_reopening_counts_equal_the_model,
    events_settling_and_reopening_at_the_same_time_lose_nothing,
);

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

async fn run_case(store: &Store, settler: &Settler, base: i64, steps: &[Step]) {
    let hour_at = |n: i64| Hour::containing(Timestamp::from_millis(base + n * HOUR_MILLIS).unwrap());
    let hours: Vec<Hour> = (0..HOURS).map(hour_at).collect();
    let mut writer = writer(store);
    let mut model = Model::default();
    for step in steps {
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
                assert!(
                    matches!(outcome, SettleOutcome::Settled | SettleOutcome::NotOpen),
                    "{outcome:?} after {step:?} of {steps:?}"
                );
            }
            Step::Reopen(n) => store.reopen(hour_at(*n)).await.unwrap(),
        }
        let expected: Vec<HourCounts> = hours.iter().map(|&hour| model.counts(hour)).collect();
        assert_eq!(store.counts(&hours).await.unwrap(), expected, "after {step:?} of {steps:?}");
    }
}

async fn after_any_sequence_of_events_settling_and_reopening_counts_equal_the_model(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let settler = settler(database.store()).await;
    let mut runner = TestRunner::new(Config::default());
    for case in 0..CASES {
        let steps = prop::collection::vec(step(), 1..16).new_tree(&mut runner).unwrap().current();
        // Every case has hours of its own, some of them on either side of midnight.
        let base = 1_431_820_800_000 + i64::from(case) * 22 * HOUR_MILLIS;
        run_case(database.store(), &settler, base, &steps).await;
    }
    assert_counts_equal_brute_force(database.store()).await;
}

async fn events_settling_and_reopening_at_the_same_time_lose_nothing(flavour: Flavour) {
    const WRITERS: u8 = 3;
    const BATCHES: i64 = 30;
    let database = TestDatabase::new(flavour).await;
    let base = 1_431_820_800_000;
    let hour = Hour::containing(Timestamp::from_millis(base).unwrap());

    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let store = database.store().clone();
        writers.spawn(async move {
            let mut writer = writer(&store);
            let mut before = 0;
            for batch in 0..BATCHES {
                let events = [event(base + batch, number, true), event(base + batch, 100 + number, false)];
                store_all(&mut writer, &events).await;
                let counted = store.counts(&[hour]).await.unwrap()[0];
                assert!(counted.clicks > before, "an acknowledged click is counted at once, whoever settles meanwhile");
                before = counted.clicks;
            }
        });
    }
    let settling = tokio::spawn({
        let store = database.store().clone();
        async move {
            let settler = settler(&store).await;
            let mut settled = 0;
            loop {
                match settler.settle(hour).await.unwrap() {
                    SettleOutcome::Settled => settled += 1,
                    SettleOutcome::NotOpen | SettleOutcome::Busy => {}
                    differs @ SettleOutcome::Differs { .. } => panic!("{differs:?} after settling {settled} times"),
                }
                tokio::task::yield_now().await;
            }
        }
    });
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    assert!(!settling.is_finished(), "the settler met no difference");
    settling.abort();

    let expected = HourCounts {
        unique_users: 2 * u64::from(WRITERS),
        clicks: u64::from(WRITERS) * BATCHES as u64,
        impressions: u64::from(WRITERS) * BATCHES as u64,
    };
    assert_eq!(database.store().counts(&[hour]).await.unwrap(), [expected]);
    assert_counts_equal_brute_force(database.store()).await;
}
