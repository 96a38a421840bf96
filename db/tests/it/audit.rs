use std::{ops::RangeInclusive, time::Duration};

use db::{AuditedHour, Auditor, Difference, Flavour, Ingested, Repaired, Retention, SettleOutcome, Store, Tally};
use harness::{TestDatabase, on_both_flavours};
use model::{Hour, SiteHour, Timestamp};
use tokio::{task::JoinSet, time::timeout};

use crate::support::{
    assert_counts_equal_brute_force, click, counts, hour, impression, outcome, reopen, settle, settler, store_all,
    writer,
};

on_both_flavours!(
    open_and_settled_hours_that_nobody_touched_equal_their_raw_events,
    every_kind_of_tampering_is_named_and_mended_by_a_repair,
    a_tampered_hour_is_not_settled_until_it_is_repaired,
    only_days_that_have_something_are_audited_and_only_hours_that_were_asked_for,
    nothing_is_concluded_where_raw_events_are_no_longer_kept,
    an_exchanged_set_of_visitors_is_found_also_where_raw_events_are_no_longer_kept,
    an_audit_while_hours_are_written_settled_and_reopened_finds_no_difference,
    repairing_while_events_come_in_loses_nothing,
);

const TEN: &str = "2015-05-17T10:00:00Z";

/// A Roaring bitmap of the number 0.
const SET_OF_ONE: &str = r"'\x3a3000000100000000000000100000000000'";
const EXCHANGE_SET: &str =
    r"update analytics.settled_hours set visitors = '\x3a3000000100000000000000100000000000' where hour = $1";

fn everything() -> RangeInclusive<Hour> {
    Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX)
}

fn tally(unique_users: i64, clicks: i64, impressions: i64) -> Tally {
    Tally { unique_users, clicks, impressions }
}

async fn audit(auditor: &Auditor) -> Vec<AuditedHour> {
    let mut hours = Vec::new();
    for part in auditor.parts(&everything()).await.unwrap() {
        hours.extend(auditor.audit(&part, None).await.unwrap());
    }
    hours
}

async fn differences(store: &Store) -> Vec<(SiteHour, Vec<Difference>)> {
    let hours = audit(&Auditor::connect(store).await.unwrap()).await;
    hours.iter().map(|hour| (hour.site_hour, hour.differences())).filter(|(_, found)| !found.is_empty()).collect()
}

async fn open_and_settled_hours_that_nobody_touched_equal_their_raw_events(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (settled, open, reopened) = (hour(TEN), hour("2015-05-17T11:00:00Z"), hour("2015-05-18T00:00:00Z"));
    let mut one = writer(store);
    store_all(&mut one, &[click(TEN, "anna"), click(TEN, "anna"), impression("2015-05-18T00:00:00Z", "ben")]).await;
    settle(store, settled).await;
    settle(store, reopened).await;
    for writer in [&mut one, &mut writer(store)] {
        let events = [click("2015-05-18T00:59:59.999Z", "carl"), impression("2015-05-17T11:00:00Z", "carl")];
        store_all(writer, &events).await;
    }

    let same = |site_hour, raw| AuditedHour {
        site_hour,
        is_verifiable: true,
        settled: None,
        visitors_in_set: None,
        is_closed: false,
        raw,
        counters: Some(raw),
        aggregate: None,
        user_rows: raw.unique_users,
        missing_users: 0,
        strange_users: 0,
        foreign_users: 0,
    };
    let first = tally(1, 2, 0);
    let expected = [
        AuditedHour {
            settled: Some(first),
            visitors_in_set: Some(1),
            counters: None,
            aggregate: Some(first),
            user_rows: 0,
            missing_users: 1,
            ..same(settled, first)
        },
        same(open, tally(1, 0, 2)),
        // Nobody reads the aggregate of an open hour, so it may be old.
        AuditedHour { aggregate: Some(tally(1, 0, 1)), ..same(reopened, tally(2, 2, 1)) },
    ];
    assert_eq!(audit(&Auditor::connect(store).await.unwrap()).await, expected);
    assert_eq!(differences(store).await, []);
}

/// How an hour stands before it is tampered with. With events it has two clicks of anna and an impression of ben.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Open,
    Settled,
    Empty,
}

/// Statements that tamper with the hour `$1`, and what is to be found.
fn tamperings(flavour: Flavour) -> Vec<(Before, &'static str, Vec<Difference>)> {
    use Before::{Empty, Open, Settled};
    use Difference::{
        Aggregate, Counters, CountersWithoutEvents, NoAggregate, NotCounted, OpenAndSettled, TakesNoEvents, Users,
        UsersLeftOver,
    };
    let settled = Difference::Settled;
    let mut table = vec![
        (Open, "update analytics.hour_counts set clicks = clicks + 1 where hour = $1", vec![Counters]),
        (Open, "update analytics.hour_counts set impressions = impressions - 1 where hour = $1", vec![Counters]),
        (Open, "update analytics.hour_counts set unique_users = -2 where hour = $1", vec![Counters]),
        (
            Open,
            "delete from analytics.hour_users where hour = $1 and user_name = 'ben'",
            vec![Users { missing: 1, strange: 0 }],
        ),
        (
            Open,
            "update analytics.hour_users set user_name = 'eve' where hour = $1 and user_name = 'ben'",
            vec![Users { missing: 1, strange: 1 }],
        ),
        (Open, "insert into analytics.hour_users values ($1, 'eve')", vec![Users { missing: 0, strange: 1 }]),
        (Open, "delete from analytics.hour_counts where hour = $1", vec![NotCounted, UsersLeftOver(2)]),
        (
            Open,
            "with gone as (delete from analytics.hour_counts where hour = $1) delete from analytics.hour_users where hour = $1",
            vec![NotCounted],
        ),
        (Open, "insert into analytics.settled_hours values (0, $1, now(), 2, 2, 1)", vec![OpenAndSettled]),
        (
            Open,
            "delete from analytics.events where at = $1 and user_name = 'ben'",
            vec![Counters, Users { missing: 0, strange: 1 }],
        ),
        (
            Open,
            "delete from analytics.events where at = $1",
            vec![CountersWithoutEvents, Users { missing: 0, strange: 2 }],
        ),
        (Open, "insert into analytics.events values ($1, 'click', 0, 'anna')", vec![Counters]),
        (Settled, "delete from analytics.settled_hours where hour = $1", vec![NotCounted]),
        (Settled, "delete from analytics.events where at = $1 and user_name = 'ben'", vec![settled, Aggregate]),
        (Settled, "delete from analytics.events where at = $1", vec![settled, Aggregate]),
        (Settled, "insert into analytics.events values ($1, 'click', 0, 'anna')", vec![settled, Aggregate]),
        (Settled, "update analytics.settled_hours set clicks = clicks - 1 where hour = $1", vec![settled]),
        (
            Settled,
            "update analytics.settled_hours set events_missing_since = now() where hour = $1",
            vec![TakesNoEvents],
        ),
        (Settled, "insert into analytics.hour_users values ($1, 'anna')", vec![UsersLeftOver(1)]),
        (
            Settled,
            "insert into analytics.hour_counts values ($1, 0, 1, 2, 2, 1, now())",
            vec![OpenAndSettled, Users { missing: 2, strange: 0 }],
        ),
        (Empty, "insert into analytics.hour_counts values ($1, 0, 1, 1, 1, 0, now())", vec![CountersWithoutEvents]),
        (Empty, "insert into analytics.hour_users values ($1, 'eve')", vec![UsersLeftOver(1)]),
        (Settled, EXCHANGE_SET, vec![Difference::Visitors]),
        (Settled, "update analytics.settled_hours set visitors = 'no set' where hour = $1", vec![Difference::Visitors]),
        (Empty, "insert into analytics.settled_hours values (0, $1, now(), 0, 0, 0)", vec![NoAggregate]),
    ];
    if flavour == Flavour::Postgres {
        table.push((Settled, "update analytics.events_hourly set clicks = 0 where hour = $1", vec![Aggregate]));
        table.push((Settled, "delete from analytics.events_hourly where hour = $1", vec![NoAggregate]));
    }
    table
}

async fn every_kind_of_tampering_is_named_and_mended_by_a_repair(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    let mut writer = writer(store);
    // Each tampering has an hour of its own in one day, and the hour after the last of them nobody touches.
    let table = tamperings(flavour);
    let first = hour("2015-05-17T00:00:00Z").hour;
    let hours: Vec<SiteHour> =
        std::iter::successors(Some(first), |hour| hour.next()).map(SiteHour::nameless).take(table.len() + 1).collect();
    let before = table.iter().map(|row| row.0).chain([Before::Open]);
    for (hour, before) in hours.iter().zip(before) {
        let at = hour.to_string();
        if before != Before::Empty {
            store_all(&mut writer, &[click(&at, "anna"), click(&at, "anna"), impression(&at, "ben")]).await;
            settle(store, *hour).await;
        }
        if before == Before::Open {
            reopen(writer.store(), *hour).await;
        }
    }
    assert_eq!(differences(store).await, []);

    let mut expected = Vec::new();
    for (hour, (_, statement, found)) in hours.iter().zip(table) {
        assert_ne!(client.execute(statement, &[&hour.hour.start().to_utc()]).await.unwrap(), 0, "{statement}");
        expected.push((*hour, found));
    }
    assert_eq!(differences(store).await, expected);

    let auditor = Auditor::connect(store).await.unwrap();
    for (hour, found) in &expected {
        assert_eq!(auditor.repair(*hour, true).await.unwrap(), Repaired::Done);
        let left = auditor.audit(&(hour.hour..=hour.hour), None).await.unwrap();
        assert!(left.iter().all(|hour| hour.differences().is_empty()), "{found:?} became {left:?}");
    }
    assert_eq!(differences(store).await, []);
    assert_counts_equal_brute_force(store).await;

    let settler = settler(store).await;
    for hour in hours {
        let outcome = outcome(&settler, hour).await;
        assert!(matches!(outcome, Some(SettleOutcome::Settled) | None), "{hour}: {outcome:?}");
    }
    assert!(audit(&auditor).await.iter().all(|hour| hour.is_settled() && hour.differences().is_empty()));
    assert_counts_equal_brute_force(store).await;
}

async fn a_tampered_hour_is_not_settled_until_it_is_repaired(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);
    store_all(&mut writer(store), &[click(TEN, "anna"), click(TEN, "ben")]).await;
    database.client().await.batch_execute("update analytics.hour_counts set clicks = 5").await.unwrap();

    let settler = settler(store).await;
    let differs = SettleOutcome::Differs { counters: counts(2, 5, 0), aggregate: counts(2, 2, 0), visitors: 2 };
    assert_eq!(outcome(&settler, ten).await, Some(differs));
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 5, 0)], "it stays open, with the counters it has");
    assert_eq!(differences(store).await, [(ten, vec![Difference::Counters])]);

    let auditor = Auditor::connect(store).await.unwrap();
    let less = auditor.repair(ten, false).await.unwrap();
    assert!(
        matches!(&less, Repaired::WouldFall(both) if both.contains("2 clicks") && both.contains("the 2, 5 and 0")),
        "{less:?}"
    );
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 5, 0)], "nobody accepted that");
    assert_eq!(auditor.repair(ten, true).await.unwrap(), Repaired::Done);
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 2, 0)]);
    assert_eq!(outcome(&settler, ten).await, Some(SettleOutcome::Settled));
    assert_eq!(differences(store).await, []);
}

async fn only_days_that_have_something_are_audited_and_only_hours_that_were_asked_for(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    let stored = ["1970-01-01T00:00:00Z", TEN, "9999-12-31T23:00:00Z"].map(hour);
    store_all(&mut writer(store), &stored.map(|hour| click(&hour.to_string(), "anna"))).await;
    for statement in [
        "insert into analytics.hour_counts values ('2016-01-01T05:00Z', 0, 1, 1, 1, 1, now())",
        "insert into analytics.hour_users values ('2016-02-01T23:00Z', 'anna')",
        "insert into analytics.settled_hours values (0, '2016-03-01T00:00Z', now(), 1, 1, 0)",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let auditor = Auditor::connect(store).await.unwrap();
    let day = |day: &str| hour(&format!("{day}T00:00:00Z")).hour..=hour(&format!("{day}T23:00:00Z")).hour;
    let days = ["1970-01-01", "2015-05-17", "2016-01-01", "2016-02-01", "2016-03-01", "9999-12-31"].map(day);
    assert_eq!(auditor.parts(&everything()).await.unwrap(), days);

    for (first, last, parts, audited) in [
        ("2015-05-17T10:00:00Z", "2015-05-17T10:00:00Z", 1, 1),
        ("2015-05-17T00:00:00Z", "2015-05-17T09:00:00Z", 1, 0),
        ("2015-05-17T11:00:00Z", "2015-12-31T23:00:00Z", 1, 0),
        ("2015-05-17T10:00:00Z", "2016-01-01T05:00:00Z", 2, 2),
        ("2015-05-18T00:00:00Z", "2015-12-31T23:00:00Z", 0, 0),
    ] {
        let asked = hour(first).hour..=hour(last).hour;
        let found = auditor.parts(&asked).await.unwrap();
        let mut hours = Vec::new();
        for part in &found {
            hours.extend(auditor.audit(part, None).await.unwrap());
        }
        assert_eq!((found.len(), hours.len()), (parts, audited), "{asked:?}");
    }
}

async fn nothing_is_concluded_where_raw_events_are_no_longer_kept(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);
    let mut writer = writer(store);
    store_all(&mut writer, &[click(TEN, "anna"), impression(TEN, "ben")]).await;
    settle(store, ten).await;
    let keep = Some(Duration::from_hours(24 * 30));
    Retention { keep, ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();
    Retention::apply(store).await.unwrap();

    let auditor = Auditor::connect(store).await.unwrap();
    let hours = audit(&auditor).await;
    assert_eq!(hours.iter().map(|hour| (hour.site_hour, hour.is_verifiable)).collect::<Vec<_>>(), [(ten, false)]);
    assert_eq!(differences(store).await, []);
    let refused = auditor.repair(ten, true).await.unwrap();
    assert!(
        matches!(&refused, Repaired::NoLongerKept(why) if why.contains("2015-05-17T10:00:00Z cannot be rebuilt")),
        "{refused:?}"
    );
    reopen(writer.store(), ten).await;
    assert_eq!(
        writer.ingest([&click(TEN, "carl")]).await.unwrap(),
        Ingested::Blocked { settled: vec![], expired: vec![ten], deleted: vec![] }
    );
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 1, 1)], "what is left of it is not destroyed");
}

async fn an_exchanged_set_of_visitors_is_found_also_where_raw_events_are_no_longer_kept(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);
    store_all(&mut writer(store), &[click(TEN, "anna"), impression(TEN, "ben")]).await;
    settle(store, ten).await;
    let client = database.client().await;
    client.batch_execute("update analytics.settings set accepts_from = '2015-05-18T00:00:00Z'").await.unwrap();
    assert_eq!(differences(store).await, []);
    for exchanged in [SET_OF_ONE, "''"] {
        let exchange = format!("update analytics.settled_hours set visitors = {exchanged}");
        client.batch_execute(&exchange).await.unwrap();
        assert_eq!(differences(store).await, [(ten, vec![Difference::Visitors])], "{exchanged}");
    }
    let repaired = Auditor::connect(store).await.unwrap().repair(ten, true).await.unwrap();
    assert!(matches!(&repaired, Repaired::NoLongerKept(_)), "{repaired:?}");
}

async fn an_audit_while_hours_are_written_settled_and_reopened_finds_no_difference(flavour: Flavour) {
    const WRITERS: usize = 3;
    const DAYS: usize = 100;
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);

    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut writer = writer(&store);
            for day in 0..DAYS {
                // One event for an hour that all write to, and one for a day that does not have a partition yet.
                let new_day = format!("2014-{:02}-{:02}T0{number}:00:00Z", 1 + day / 20, 1 + day % 20);
                store_all(&mut writer, &[click(TEN, &format!("user-{number}-{day}")), impression(&new_day, "a")]).await;
            }
        });
    }
    let settling = tokio::spawn({
        let store = store.clone();
        async move {
            let settler = settler(&store).await;
            loop {
                for (hour, sites) in settler.ripe_hours(Duration::ZERO, &[], 3).await.unwrap() {
                    for (_, outcome) in settler.settle(hour, &sites).await.unwrap() {
                        assert!(!matches!(outcome, SettleOutcome::Differs { .. }), "{hour}: {outcome:?}");
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut audits, mut seen_open, mut seen_settled) = (0, 0, 0);
    while !writers.is_empty() {
        let hours = audit(&Auditor::connect(store).await.unwrap()).await;
        for hour in &hours {
            assert_eq!(hour.differences(), [], "{hour:?}");
        }
        audits += 1;
        seen_open += hours.iter().filter(|hour| hour.is_open()).count();
        seen_settled += hours.iter().filter(|hour| hour.is_settled()).count();
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
    }
    assert!(
        audits > 1 && seen_open > 0 && seen_settled > 0,
        "{audits} {seen_open} {seen_settled}: the race took place"
    );
    assert!(!settling.is_finished(), "the settler met no difference");
    settling.abort();

    let expected = (WRITERS * DAYS) as u64;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(expected, expected, 0)]);
    assert_eq!(differences(store).await, []);
}

async fn repairing_while_events_come_in_loses_nothing(flavour: Flavour) {
    const WRITERS: usize = 3;
    const BATCHES: usize = 40;
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut writer = writer(&store);
            for batch in 0..BATCHES {
                let user = format!("user-{number}-{batch}");
                store_all(&mut writer, &[click(TEN, &user), impression(TEN, &format!("user-{number}"))]).await;
            }
        });
    }
    let auditor = Auditor::connect(store).await.unwrap();
    let mut repairs = 0;
    while !writers.is_empty() {
        assert_eq!(auditor.repair(ten, false).await.unwrap(), Repaired::Done);
        repairs += 1;
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
    }
    assert!(repairs > 1, "there were repairs while events came in");
    let total = (WRITERS * BATCHES) as u64;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(total + WRITERS as u64, total, total)]);
    assert_eq!(differences(store).await, []);
}

#[tokio::test]
async fn an_audit_locks_no_partition_but_those_of_its_day() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let events: Vec<_> = (1..=9).map(|day| click(&format!("2015-05-0{day}T10:00:00Z"), "a")).collect();
    store_all(&mut writer(database.store()), &events).await;

    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    for day in 1..=9 {
        let audit = format!("select analytics.audit('2015-05-0{day}T00:00Z', '2015-05-0{day}T23:00Z', null)");
        transaction.batch_execute(&audit).await.unwrap();
        let locked = "select count(*) from pg_locks join pg_class as c on c.oid = relation \
                      where pid = pg_backend_pid() and c.relname ~ '^events_2015[0-9]+$'";
        assert_eq!(transaction.query_one(locked, &[]).await.unwrap().get::<_, i64>(0), day);
    }
    let refused =
        transaction.batch_execute("select analytics.audit('2015-05-01T00:00Z', '2015-05-02T00:00Z', null)").await;
    assert_eq!(refused.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some("AN005"));
}

#[tokio::test]
async fn a_row_whose_hour_is_not_a_whole_hour_is_named_rather_than_overlooked() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let tamper = "insert into analytics.hour_counts values ('2015-05-17T10:30Z', 0, 1, 1, 1, 1, now())";
    database.client().await.batch_execute(tamper).await.unwrap();
    let auditor = Auditor::connect(database.store()).await.unwrap();
    let part = &auditor.parts(&everything()).await.unwrap()[0];
    let error = auditor.audit(part, None).await.unwrap_err().to_string();
    assert!(error.contains("not a whole UTC hour"), "{error}");
}

/// An ingest would queue behind a retention that waits for the rebuild to end.
#[tokio::test]
async fn retention_does_not_wait_for_an_hour_that_is_being_rebuilt() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click(TEN, "anna")]).await;
    settle(store, hour(TEN)).await;
    let keep = Some(Duration::from_hours(24 * 30));
    Retention { keep, ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();

    let mut client = database.client().await;
    let rebuilding = client.transaction().await.unwrap();
    rebuilding.execute("select analytics.repair($1, 0, false)", &[&hour(TEN).hour.start().to_utc()]).await.unwrap();
    let applied = timeout(Duration::from_secs(30), Retention::apply(store)).await.expect("it does not wait").unwrap();
    assert_eq!(applied.kept_from.to_rfc3339(), "1970-01-01T00:00:00+00:00", "it left things as they are");
    rebuilding.commit().await.unwrap();

    let applied = Retention::apply(store).await.unwrap();
    let day = "2015-05-17T00:00:00+00:00";
    assert_eq!(applied.kept_from.to_rfc3339(), day, "it stops at the day of the hour that is open now");
    assert_eq!(differences(store).await, []);
    settle(store, hour(TEN)).await;
    assert!(Retention::apply(store).await.unwrap().kept_from > hour(TEN).hour.start().to_utc());
}
