use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use db::{Auditor, Flavour, Repaired, Retention, SettleOutcome, Store, UniqueUsers};
use harness::{TestDatabase, on_both_flavours};
use model::{Event, EventKind, Hour, SiteEvent, SiteHour, SiteId, Timestamp, UserName};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tokio_postgres::Client;

use crate::support::{click, hour, impression, outcome, reopen, settle, settler, site, store_all, writer};

on_both_flavours!(
    who_was_seen_in_several_hours_is_one_user_of_a_range,
    ranges_are_told_exactly_whatever_became_of_their_hours_and_raw_events,
    a_set_that_was_made_before_somebody_was_forgotten_settles_nothing,
);

async fn users_of(store: &Store, first: &str, last: &str) -> UniqueUsers {
    let range = hour(first).hour..=hour(last).hour;
    store.range_counts(SiteId::NAMELESS, &range).await.unwrap().unique_users
}

async fn who_was_seen_in_several_hours_is_one_user_of_a_range(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let events = [
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T11:00:00Z", "anna"),
        click("2015-05-17T11:59:59.999Z", "ben"),
        click("2015-05-17T12:00:00Z", "after"),
    ];
    store_all(&mut writer(store), &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    for days in [1, 0] {
        let of = async |first, last| users_of(store, first, last).await;
        assert_eq!(of("2015-05-17T10:00:00Z", "2015-05-17T11:00:00Z").await, UniqueUsers::Exactly(2));
        assert_eq!(of("2015-05-17T00:00:00Z", "2015-05-18T23:00:00Z").await, UniqueUsers::Exactly(3));
        assert_eq!(of("2015-05-16T00:00:00Z", "2015-05-16T23:00:00Z").await, UniqueUsers::Exactly(0));
        // Then the same of settled hours alone.
        let settler = settler(store).await;
        for (hour, sites) in settler.ripe_hours(Duration::ZERO, &[], 9).await.unwrap() {
            assert_eq!(settler.settle(hour, &sites).await.unwrap().len(), 1);
        }
        assert_eq!(settler.unite_days(9).await.unwrap(), days, "the day is united once");
    }
}

/// Between the reading of an hour's visitors and its settling one of them is forgotten and another comes, so that their number is the same.
async fn a_set_that_was_made_before_somebody_was_forgotten_settles_nothing(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour("2015-05-17T10:00:00Z");
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "anna"), click("2015-05-17T10:00:00Z", "ben")]).await;
    let client = database.client().await;
    let start = ten.hour.start().to_utc();
    let number = "select numbers, names from analytics.number_visitors($1, array[0], false)";
    let numbered = client.query_one(number, &[&start]).await.unwrap();
    let (numbers, names): (Vec<i32>, i64) = (numbered.get(0), numbered.get(1));
    assert_eq!(BTreeSet::from_iter(numbers), BTreeSet::from([0, 1]));
    let anna = UserName::new("anna").unwrap();
    Auditor::connect(store).await.unwrap().forget(&anna, ten).await.unwrap();
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "carl")]).await;
    client.execute("call analytics.refresh_hour($1)", &[&start]).await.unwrap();
    // 0 and 1, as a bitmap of one container.
    let set: &[u8] = &[0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0, 1, 0];
    let settle = "select is_settled, visitors_in_set, is_set_of_all from analytics.settle($1, array[0], array[$2::bytea], array[$3::bigint])";
    let row = client.query_one(settle, &[&start, &set, &names]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), (false, 2_i64, false));
    assert_eq!(outcome(&settler(store).await, ten).await, Some(SettleOutcome::Settled), "with a set made anew");
    assert_eq!(users_of(store, "2015-05-17T10:00:00Z", "2015-05-17T10:00:00Z").await, UniqueUsers::Exactly(2));
}

/// A witness of its own: it finds what counters and aggregate cannot.
#[tokio::test]
async fn an_hour_is_not_settled_whose_users_are_not_as_many_as_its_counters_say() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "anna"), click("2015-05-17T10:00:00Z", "ben")]).await;
    database.client().await.batch_execute("delete from analytics.hour_users where user_name = 'ben'").await.unwrap();
    let outcome = outcome(&settler(store).await, hour("2015-05-17T10:00:00Z")).await;
    assert!(matches!(outcome, Some(SettleOutcome::Differs { visitors: 1, .. })), "{outcome:?}");
}

const DAYS: i64 = 3;
/// Of each day, so that ranges begin and end within days and at their ends.
const HOURS: [i64; 3] = [0, 11, 23];
const SITES: i32 = 2;
const USERS: u8 = 12;
const CASES: u32 = 3;
const STEPS: usize = 40;

#[derive(Debug, Clone)]
enum Step {
    Store(Vec<(usize, i32, u8)>),
    Settle(usize),
    Reopen(usize, i32),
    Repair(usize, i32),
    Forget(u8, i32),
    Unite,
    /// The set of a settled hour was never made.
    Lose(usize, i32),
    Backfill,
    /// The raw events of the first day go, as soon as its hours are settled.
    Retain,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..HOURS.len() * usize::try_from(DAYS).unwrap();
    prop_oneof![
        6 => prop::collection::vec((place(), 0..SITES, 0..USERS), 1..10).prop_map(Step::Store),
        6 => place().prop_map(Step::Settle),
        2 => (place(), 0..SITES).prop_map(|(place, site)| Step::Reopen(place, site)),
        1 => (place(), 0..SITES).prop_map(|(place, site)| Step::Repair(place, site)),
        2 => (0..USERS, 0..SITES).prop_map(|(user, site)| Step::Forget(user, site)),
        3 => Just(Step::Unite),
        1 => (place(), 0..SITES).prop_map(|(place, site)| Step::Lose(place, site)),
        1 => Just(Step::Backfill),
        1 => Just(Step::Retain),
    ]
}

/// Who was seen when, in the simplest way there is. Somebody who was forgotten and comes again is another person.
#[derive(Default)]
struct Model {
    seen: BTreeMap<SiteHour, BTreeSet<u32>>,
    people: HashMap<(i32, u8), u32>,
    known: u32,
    settled: BTreeSet<SiteHour>,
    without_set: BTreeSet<SiteHour>,
}

impl Model {
    fn person(&mut self, site: i32, user: u8) -> u32 {
        *self.people.entry((site, user)).or_insert_with(|| {
            self.known += 1;
            self.known
        })
    }

    fn opens(&mut self, at: SiteHour) {
        self.settled.remove(&at);
        self.without_set.remove(&at);
    }

    fn users(&self, site: SiteId, range: &RangeInclusive<Hour>) -> UniqueUsers {
        let is_in = |at: &&SiteHour| at.site == site && range.contains(&at.hour);
        let unknown: Vec<Hour> = self.without_set.iter().filter(is_in).map(|at| at.hour).collect();
        // The number of a single hour stays without its set.
        if !unknown.is_empty() && range.start() != range.end() {
            return UniqueUsers::Unknown(unknown);
        }
        let seen = self.seen.iter().filter(|(at, _)| is_in(at)).flat_map(|(_, seen)| seen);
        UniqueUsers::Exactly(seen.collect::<BTreeSet<_>>().len() as u64)
    }
}

struct Case<'a> {
    store: &'a Store,
    client: Client,
    first_day: DateTime<Utc>,
    model: Model,
}

impl Case<'_> {
    fn hour(&self, place: usize) -> Hour {
        let (day, hour) = (i64::try_from(place / HOURS.len()).unwrap(), HOURS[place % HOURS.len()]);
        Hour::starting_at(self.first_day + TimeDelta::days(day) + TimeDelta::hours(hour)).unwrap()
    }

    fn site_hour(&self, place: usize, number: i32) -> SiteHour {
        SiteHour { hour: self.hour(place), site: site(number) }
    }

    async fn kept_from(&self) -> DateTime<Utc> {
        self.client.query_one("select accepts_from from analytics.settings", &[]).await.unwrap().get(0)
    }

    async fn has_raw_events(&self, hour: Hour) -> bool {
        hour.start().to_utc() >= self.kept_from().await
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Store(events) => {
                let accepted = Retention::accepts_from(self.store).await.unwrap();
                let mut stored = Vec::new();
                for &(place, number, user) in events {
                    let at = self.site_hour(place, number);
                    if accepted.is_some_and(|from| at.hour.start().to_utc() < from) {
                        continue;
                    }
                    let name = UserName::new(format!("user-{user}")).unwrap();
                    let millis = Timestamp::from_millis(at.hour.start().to_utc().timestamp_millis()).unwrap();
                    let event = Event { at: millis, user: name, kind: EventKind::Click };
                    stored.push(SiteEvent { site: at.site, event });
                    let person = self.model.person(number, user);
                    self.model.opens(at);
                    self.model.seen.entry(at).or_default().insert(person);
                }
                if !stored.is_empty() {
                    store_all(&mut writer(self.store), &stored).await;
                }
            }
            Step::Settle(place) => {
                let sites: Vec<SiteId> = (0..SITES).map(site).collect();
                let hour = self.hour(*place);
                for (site, outcome) in settler(self.store).await.settle(hour, &sites).await.unwrap() {
                    assert_eq!(outcome, SettleOutcome::Settled);
                    self.model.settled.insert(SiteHour { hour, site });
                }
            }
            Step::Reopen(place, number) => {
                let at = self.site_hour(*place, *number);
                assert!(reopen(self.store, at).await);
                if self.has_raw_events(at.hour).await {
                    self.model.opens(at);
                }
            }
            Step::Repair(place, number) => {
                let at = self.site_hour(*place, *number);
                let repaired = Auditor::connect(self.store).await.unwrap().repair(at, false).await.unwrap();
                if self.has_raw_events(at.hour).await {
                    assert_eq!(repaired, Repaired::Done);
                    self.model.opens(at);
                }
            }
            Step::Forget(user, number) => self.forget(*user, *number).await,
            Step::Unite => {
                settler(self.store).await.unite_days(100).await.unwrap();
            }
            Step::Lose(place, number) => {
                let at = self.site_hour(*place, *number);
                if self.model.settled.contains(&at) {
                    self.lose(at).await;
                    self.model.without_set.insert(at);
                }
            }
            Step::Backfill => {
                let auditor = Auditor::connect(self.store).await.unwrap();
                let hours = auditor.hours_without_visitors().await.unwrap();
                for &at in &hours {
                    assert!(auditor.fill_visitors(at).await.unwrap());
                    assert!(self.model.without_set.remove(&at));
                }
                assert!(hours.is_sorted());
            }
            Step::Retain => {
                let middle_of_second_day = self.first_day + TimeDelta::hours(36);
                let keep = Some((Utc::now() - middle_of_second_day).to_std().unwrap());
                Retention { keep, columnstore_after: None }.write(self.store).await.unwrap();
                Retention::apply(self.store).await.unwrap();
            }
        }
    }

    async fn forget(&mut self, user: u8, number: i32) {
        let auditor = Auditor::connect(self.store).await.unwrap();
        let name = UserName::new(format!("user-{user}")).unwrap();
        let Some(person) = self.model.people.remove(&(number, user)) else { return };
        let seen: Vec<SiteHour> =
            self.model.seen.iter().filter(|(_, seen)| seen.contains(&person)).map(|(at, _)| *at).collect();
        for at in seen {
            if self.has_raw_events(at.hour).await {
                let forgotten = auditor.forget(&name, at).await.unwrap();
                assert!(forgotten.rebuilt && forgotten.deleted > 0, "{forgotten:?}");
                self.model.opens(at);
                self.model.seen.get_mut(&at).unwrap().remove(&person);
            }
        }
        auditor.forget_name(&name, site(number)).await.unwrap();
    }

    /// As an hour is that was settled before sets were kept.
    async fn lose(&self, SiteHour { hour, site }: SiteHour) {
        let lose = "with lost as (update analytics.settled_hours set visitors = null where hour = $1 and site = $2) \
                    update analytics.day_visitors set visitors = null, changes = changes + 1 \
                    where site = $2 and day = date_bin('24 hours', $1, 'epoch')";
        self.client.execute(lose, &[&hour.start().to_utc(), &site.number()]).await.unwrap();
    }

    /// Ranges from each hour to a later one, in two periods.
    async fn check(&self, steps: &[Step]) {
        let places = HOURS.len() * usize::try_from(DAYS).unwrap();
        for site in (0..SITES).map(site) {
            let all = self.hour(0)..=self.hour(places - 1);
            let counts = self.store.range_counts(site, &all).await.unwrap();
            let with_events: Vec<_> =
                counts.hours.iter().filter(|row| row.counts.clicks > 0).map(|row| row.hour).collect();
            let expected = with_events.first().copied().zip(with_events.last().copied());
            let first_hour = *all.start()..=*all.start();
            let told = self.store.period_counts(site, &[first_hour]).await.unwrap();
            assert_eq!(told.stored, expected, "{site:?} after {steps:#?}");
        }
        for (first, last) in (0..places).flat_map(|first| [(first, places - 1), (first, (first * 2).min(places - 1))]) {
            for site in (0..SITES).map(site) {
                let (first, last) = (self.hour(first), self.hour(last));
                let middle = first.plus(7).min(last);
                let periods: Vec<_> =
                    [Some(first..=middle), middle.next().filter(|next| *next <= last).map(|next| next..=last)]
                        .into_iter()
                        .flatten()
                        .collect();
                let whole = self.store.range_counts(site, &(first..=last)).await.unwrap();
                let told = self.store.period_counts(site, &periods).await.unwrap();
                assert_eq!(told.unique_users, whole.unique_users);
                assert_eq!(
                    told.unique_users,
                    self.model.users(site, &(first..=last)),
                    "{first} to {last} of {site:?} after {steps:#?}"
                );
                let expected: Vec<_> = periods.iter().map(|period| self.model.users(site, period)).collect();
                let rows = |period: &RangeInclusive<Hour>| {
                    let rows = whole.hours.iter().filter(|row| period.contains(&row.hour)).copied();
                    rows.filter(|row| row.counts.clicks > 0).collect::<Vec<_>>()
                };
                for (period, row) in periods.iter().zip(&told.periods) {
                    let rows = rows(period);
                    assert_eq!(row.clicks, rows.iter().map(|row| row.counts.clicks).sum::<u64>());
                    assert_eq!(row.settled, !rows.is_empty() && rows.iter().all(|row| row.settled));
                }
                let users: Vec<_> = told.periods.into_iter().map(|row| row.unique_users).collect();
                assert_eq!(users, expected, "{periods:?} of {site:?} after {steps:#?}");
            }
        }
    }
}

async fn ranges_are_told_exactly_whatever_became_of_their_hours_and_raw_events(flavour: Flavour) {
    let mut random = TestRunner::default();
    for _ in 0..CASES {
        let database = TestDatabase::new(flavour).await;
        let now = Utc::now();
        let first_day = now.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc() - TimeDelta::days(DAYS + 3);
        let model = Model::default();
        let mut case = Case { store: database.store(), client: database.client().await, first_day, model };
        let steps = prop::collection::vec(step(), STEPS).new_tree(&mut random).unwrap().current();
        for taken in 1..=steps.len() {
            case.take(&steps[taken - 1]).await;
            if taken % 4 == 0 {
                case.check(&steps[..taken]).await;
            }
        }
        case.check(&steps).await;
        let auditor = Auditor::connect(case.store).await.unwrap();
        for part in auditor.parts(&(case.hour(0)..=case.hour(8))).await.unwrap() {
            for audited in auditor.audit(&part, None).await.unwrap() {
                assert_eq!(audited.differences(), [], "{audited:?}");
            }
        }
    }
}

/// Whoever asks while hours are settled, opened and united counts everybody who was acknowledged before.
#[tokio::test]
async fn ranges_miss_nobody_while_their_hours_are_settled_opened_and_united() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let hours = [0, 1, 24].map(|hours| hour("2015-05-17T10:00:00Z").hour.plus(hours));
    let (mut writer, settler) = (writer(store), settler(store).await);
    for number in 0..100 {
        let at = hours[number % hours.len()];
        let events = [click(&at.to_string(), &format!("user-{number}")), click(&hours[0].to_string(), "always")];
        let meanwhile = async {
            for hour in [at, hours[(number + 1) % hours.len()]] {
                settler.settle(hour, &[SiteId::NAMELESS]).await.unwrap();
            }
            settler.unite_days(2).await.unwrap();
        };
        let asked = users_of(store, "2015-05-17T00:00:00Z", "2015-05-18T23:00:00Z");
        let ((), (), told) = tokio::join!(store_all(&mut writer, &events), meanwhile, asked);
        let (before, after) = (number as u64 + u64::from(number > 0), number as u64 + 2);
        assert!([before, after].map(UniqueUsers::Exactly).contains(&told), "{told:?} is neither {before} nor {after}");
        assert_eq!(users_of(store, "2015-05-17T00:00:00Z", "2015-05-18T23:00:00Z").await, UniqueUsers::Exactly(after));
    }
}
