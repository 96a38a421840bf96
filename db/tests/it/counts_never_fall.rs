//! An acknowledged count never falls, whatever happens to raw events or to the aggregate, short of an operator's word.

use std::time::Duration;

use db::{Auditor, Difference, Flavour, Forgotten, Ingested, Repaired, Retention, SettleOutcome, Store, schema};
use harness::{TestDatabase, on_both_flavours};
use model::{SiteId, UserName};

use crate::support::{
    assert_counts_equal_brute_force, click, counts, hour, impression, outcome, reopen, settle, settler, store_all,
    writer,
};

on_both_flavours!(
    a_late_event_into_an_hour_whose_raw_events_were_dropped_is_refused_and_its_counts_stay,
    an_hour_that_lost_one_visitor_stays_as_it_is_until_the_loss_is_accepted,
    raw_events_that_were_put_back_let_a_repair_open_the_hour_again,
    counts_that_were_settled_outlive_an_aggregate_that_was_computed_anew_from_what_was_left,
    an_open_hour_that_lost_raw_events_keeps_its_counters_and_goes_on,
    forgetting_a_visitor_takes_no_more_from_an_hour_than_the_visitor,
    retention_spares_an_hour_whose_counters_were_deleted_by_hand,
);

const AT: &str = "2024-02-07T10:00:00Z";
const LATE: &str = "2024-02-07T10:30:00Z";

/// An hour of five visitors that is settled.
async fn five_settled_visitors(flavour: Flavour) -> TestDatabase {
    let database = TestDatabase::new(flavour).await;
    let events = ["a", "b", "c", "d", "e"].map(|user| click(AT, user));
    store_all(&mut writer(database.store()), &events).await;
    settle(database.store(), hour(AT)).await;
    database
}

/// What an operator, a policy of the extension or a job of another program does to the day of the hour.
async fn drop_the_day(database: &TestDatabase, flavour: Flavour) {
    let statement = match flavour {
        Flavour::Timescale => "select drop_chunks('analytics.events', older_than => timestamptz '2024-02-09 00:00+00')",
        Flavour::Postgres => "drop table analytics.events_20240207",
    };
    database.client().await.batch_execute(statement).await.unwrap();
}

async fn differences(store: &Store) -> Vec<Difference> {
    let hours = Auditor::connect(store).await.unwrap().audit(&(hour(AT).hour..=hour(AT).hour), None).await.unwrap();
    hours.iter().flat_map(db::AuditedHour::differences).collect()
}

async fn repair(store: &Store, accepts_loss: bool) -> Repaired {
    Auditor::connect(store).await.unwrap().repair(hour(AT), accepts_loss).await.unwrap()
}

fn refused() -> Ingested {
    Ingested::Blocked { settled: vec![], expired: vec![hour(AT)], deleted: vec![] }
}

async fn a_late_event_into_an_hour_whose_raw_events_were_dropped_is_refused_and_its_counts_stay(flavour: Flavour) {
    let database = five_settled_visitors(flavour).await;
    let store = database.store();
    drop_the_day(&database, flavour).await;
    assert_eq!(differences(store).await, [Difference::Settled, Difference::Aggregate], "also before anything comes");

    let mut late = writer(store);
    let asked_for = Ingested::Blocked { settled: vec![hour(AT)], expired: vec![], deleted: vec![] };
    assert_eq!(late.ingest([&click(LATE, "f")]).await.unwrap(), asked_for);
    for _ in 0..2 {
        assert!(!reopen(store, hour(AT)).await);
        assert_eq!(late.ingest([&click(LATE, "f")]).await.unwrap(), refused(), "it is not asked to reopen it again");
    }
    let many: Vec<_> = (0..1_500).map(|user| click(LATE, &format!("user{user}"))).collect();
    assert_eq!(late.ingest(&many).await.unwrap(), refused());
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);
    assert_eq!(differences(store).await, [Difference::Settled, Difference::TakesNoEvents, Difference::Aggregate]);
    assert_eq!(settler(store).await.backlog(Duration::ZERO).await.unwrap().closed_hours, 1);
    // Others of the day are taken as ever.
    store_all(&mut late, &[click("2024-02-07T11:00:00Z", "f")]).await;
}

async fn an_hour_that_lost_one_visitor_stays_as_it_is_until_the_loss_is_accepted(flavour: Flavour) {
    let database = five_settled_visitors(flavour).await;
    let store = database.store();
    database.client().await.batch_execute("delete from analytics.events where user_name = 'e'").await.unwrap();
    assert!(!reopen(store, hour(AT)).await);

    let less = repair(store, false).await;
    let told =
        |both: &str| both.contains("4 unique users, 4 clicks and 0 impressions") && both.contains("the 5, 5 and 0");
    assert!(matches!(&less, Repaired::WouldFall(both) if told(both)), "{less:?}");
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);

    assert_eq!(repair(store, true).await, Repaired::Done);
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(4, 4, 0)]);
    store_all(&mut writer(store), &[click(LATE, "f")]).await;
    settle(store, hour(AT)).await;
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);
    assert_counts_equal_brute_force(store).await;
    assert_eq!(differences(store).await, []);
}

async fn raw_events_that_were_put_back_let_a_repair_open_the_hour_again(flavour: Flavour) {
    let database = five_settled_visitors(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    client.batch_execute("create table public.kept as table analytics.events").await.unwrap();
    client.batch_execute("delete from analytics.events").await.unwrap();
    assert!(!reopen(store, hour(AT)).await);
    client.batch_execute("insert into analytics.events table public.kept").await.unwrap();
    assert_eq!(differences(store).await, [Difference::TakesNoEvents], "nobody has looked since");

    assert_eq!(repair(store, false).await, Repaired::Done);
    store_all(&mut writer(store), &[impression(LATE, "a")]).await;
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 1)]);
    assert_eq!(differences(store).await, []);
}

async fn counts_that_were_settled_outlive_an_aggregate_that_was_computed_anew_from_what_was_left(flavour: Flavour) {
    let database = five_settled_visitors(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    drop_the_day(&database, flavour).await;
    client.batch_execute("call analytics.refresh_hour('2024-02-07 10:00+00')").await.unwrap();
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);

    let made_anew = match flavour {
        Flavour::Timescale => {
            "drop materialized view analytics.events_hourly; \
             create materialized view analytics.events_hourly with (timescaledb.continuous, timescaledb.materialized_only = true) as \
             select time_bucket(interval '1 hour', at) as hour, site, count(distinct user_name) as unique_users, \
             count(*) filter (where kind = 'click') as clicks, count(*) filter (where kind = 'impression') as impressions \
             from analytics.events group by 1, 2 with no data"
        }
        Flavour::Postgres => "truncate analytics.events_hourly",
    };
    client.batch_execute(made_anew).await.unwrap();
    // It belongs to whom it has to again.
    schema::migrate(store, Some(flavour)).await.unwrap();
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);
    let hours = store.range_counts(SiteId::NAMELESS, &(hour(AT).hour..=hour(AT).hour)).await.unwrap().hours;
    assert_eq!(hours[0].counts, counts(5, 5, 0));
    assert_eq!(differences(store).await, [Difference::Settled, Difference::NoAggregate]);
    assert!(!reopen(store, hour(AT)).await);
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);
}

async fn an_open_hour_that_lost_raw_events_keeps_its_counters_and_goes_on(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut events = writer(store);
    store_all(&mut events, &["a", "b"].map(|user| click(AT, user))).await;
    drop_the_day(&database, flavour).await;
    store_all(&mut events, &[click(AT, "a"), click(AT, "c")]).await;
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(3, 4, 0)]);

    let differs = outcome(&settler(store).await, hour(AT)).await;
    assert_eq!(
        differs,
        Some(SettleOutcome::Differs { counters: counts(3, 4, 0), aggregate: counts(2, 2, 0), visitors: 3 })
    );
    assert!(matches!(repair(store, false).await, Repaired::WouldFall(_)));
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(3, 4, 0)]);
    store_all(&mut events, &[click(AT, "d")]).await;
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(4, 5, 0)]);
}

async fn forgetting_a_visitor_takes_no_more_from_an_hour_than_the_visitor(flavour: Flavour) {
    let open = "2024-02-07T12:00:00Z";
    let database = five_settled_visitors(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    let mut events = writer(store);
    store_all(&mut events, &[click(open, "a"), impression(open, "b"), click(open, "c")]).await;
    client.batch_execute("delete from analytics.events where user_name = 'c'").await.unwrap();

    let auditor = Auditor::connect(store).await.unwrap();
    let user = UserName::new("a").unwrap();
    for at in [AT, open] {
        assert_eq!(auditor.forget(&user, hour(at)).await.unwrap(), Forgotten { deleted: 1, rebuilt: false }, "{at}");
    }
    assert_eq!(store.counts(&[hour(AT), hour(open)]).await.unwrap(), [counts(5, 5, 0), counts(3, 2, 1)]);
    let names = "select (select count(*) from analytics.hour_users where user_name = 'a') \
                 + (select count(*) from analytics.events where user_name = 'a')";
    assert_eq!(client.query_one(names, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing names the visitor");
    // Where nothing is missing, the hour falls by the visitor alone.
    let sound = "2024-02-07T14:00:00Z";
    store_all(&mut events, &[click(sound, "a"), impression(sound, "b")]).await;
    assert_eq!(auditor.forget(&user, hour(sound)).await.unwrap(), Forgotten { deleted: 1, rebuilt: true });
    assert_eq!(store.counts(&[hour(sound)]).await.unwrap(), [counts(1, 0, 1)]);
}

/// A repair has to find its raw events.
async fn retention_spares_an_hour_whose_counters_were_deleted_by_hand(flavour: Flavour) {
    let database = five_settled_visitors(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    client.batch_execute("delete from analytics.settled_hours").await.unwrap();
    let keep = Some(Duration::from_hours(24 * 30));
    Retention { keep, ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();
    let kept_from = Retention::apply(store).await.unwrap().kept_from;
    assert_eq!(kept_from.to_rfc3339(), "2024-02-07T00:00:00+00:00");
    assert_eq!(differences(store).await, [Difference::NotCounted]);

    assert_eq!(repair(store, false).await, Repaired::Done);
    settle(store, hour(AT)).await;
    assert!(Retention::apply(store).await.unwrap().kept_from > kept_from);
    assert_eq!(store.counts(&[hour(AT)]).await.unwrap(), [counts(5, 5, 0)]);
}

/// Turning a chunk into columns empties a table at once, whatever others still read in it; so does dropping one.
#[tokio::test]
async fn nobody_can_take_the_raw_events_away_while_an_hour_is_rebuilt() {
    let database = five_settled_visitors(Flavour::Postgres).await;
    let mut client = database.client().await;
    let rebuilding = client.transaction().await.unwrap();
    rebuilding.execute("select analytics.lock_for_rebuild($1)", &[&hour(AT).hour.start().to_utc()]).await.unwrap();
    let taken = "set lock_timeout = '100ms'; truncate analytics.events_20240207";
    let error = database.client().await.batch_execute(taken).await.unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("55P03"), "{error}");
}
