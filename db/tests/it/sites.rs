//! The table of sites, and what becomes of a site that is deleted.

use std::time::Duration;

use db::{
    Auditor, Claim, CreatedSite, DeletedSite, Flavour, Ingested, Repaired, Retention, Settler, Sites, Store, Writer,
};
use harness::{TestDatabase, on_both_flavours};
use model::{IdempotencyKey, SiteEvent, SiteHour, SiteId, SiteName, Submission, UserName};
use tokio::task::JoinSet;

use crate::support::{
    assert_counts_equal_brute_force, click, counts, hour, impression, settle, settler, site, store_all, writer,
};

on_both_flavours!(
    a_deleted_site_is_forgotten_a_day_at_a_time_and_the_others_stay_as_they_are,
    a_site_that_is_deleted_while_another_is_forgotten_is_forgotten_too,
    a_deleted_site_takes_no_events_and_is_neither_repaired_nor_reopened,
    events_make_no_more_sites_than_they_may,
    raw_events_of_a_site_without_counters_are_kept_until_it_is_repaired_or_deleted,
    an_audit_of_one_site_finds_nothing_of_others,
    an_hour_of_ten_thousand_sites_is_settled_and_reopened_at_once,
);
with_logins!(while_a_site_is_deleted_no_event_of_it_is_stored_behind_that);

const DAYS: [&str; 3] = ["2015-05-17T10:00:00Z", "2015-05-18T10:00:00Z", "2015-05-19T10:00:00Z"];
const TEN: &str = DAYS[0];
const TABLES: [&str; 5] = ["events", "hour_counts", "hour_users", "event_keys", "settled_hours"];

fn name(text: &str) -> SiteName {
    SiteName::new(text).unwrap()
}

async fn make(store: &Store, text: &str) -> SiteId {
    match Sites(store).create(&name(text), None).await.unwrap() {
        CreatedSite::Created(site) => site,
        other => panic!("{other:?}"),
    }
}

async fn delete(store: &Store, text: &str) {
    assert_eq!(Sites(store).delete(&name(text)).await.unwrap(), DeletedSite::Deleted);
}

fn of(site: SiteId, event: SiteEvent) -> SiteEvent {
    SiteEvent { site, ..event }
}

fn at(site: SiteId, rfc3339: &str) -> SiteHour {
    SiteHour { site, ..hour(rfc3339) }
}

/// How many rows of a site each table has.
async fn rows(database: &TestDatabase, site: SiteId) -> [i64; 5] {
    let client = database.client().await;
    let mut found = [0; 5];
    for (table, found) in TABLES.iter().zip(&mut found) {
        let count = format!("select count(*) from analytics.{table} where site = $1");
        *found = client.query_one(&count, &[&site.number()]).await.unwrap().get(0);
    }
    found
}

/// Ends when there is nothing more to forget; how often there was more.
async fn forget_all(settler: &Settler) -> usize {
    let mut days = 0;
    while settler.forget_deleted_sites().await.unwrap() {
        days += 1;
        assert!(days < 100, "it never ends");
    }
    days
}

async fn store_with_key(writer: &mut Writer, key: &str, event: SiteEvent) {
    let submission = Submission::new(vec![event], Some(IdempotencyKey::new(key).unwrap()));
    let stored = writer.ingest_once(&submission.events, &Claim::all_of(&submission), &[]).await.unwrap();
    assert_eq!(stored, Ingested::Stored);
}

async fn a_deleted_site_is_forgotten_a_day_at_a_time_and_the_others_stay_as_they_are(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (gone, stays) = (make(store, "gone").await, make(store, "stays").await);
    let mut writer = writer(store);
    for day in DAYS {
        for site in [SiteId::NAMELESS, gone, stays] {
            store_all(&mut writer, &[of(site, click(day, "anna")), of(site, impression(day, "ben"))]).await;
        }
    }
    store_with_key(&mut writer, "k", of(gone, click(DAYS[2], "carl"))).await;
    for site in [SiteId::NAMELESS, gone, stays] {
        settle(store, at(site, TEN)).await;
    }
    assert_eq!(rows(&database, gone).await, [7, 2, 5, 1, 1]);
    let settler = settler(store).await;
    assert_eq!(forget_all(&settler).await, 0, "nothing is deleted yet");
    let before = rows(&database, stays).await;

    delete(store, "gone").await;
    assert_eq!(Sites(store).delete(&name("gone")).await.unwrap(), DeletedSite::Unknown);
    assert_eq!(Sites(store).find(&name("gone")).await.unwrap(), None);
    assert_eq!(forget_all(&settler).await, DAYS.len());
    assert_eq!(rows(&database, gone).await, [0; 5]);
    assert_eq!(rows(&database, stays).await, before);
    for day in DAYS {
        let both = store.counts(&[at(stays, day), hour(day)]).await.unwrap();
        assert_eq!(both, [counts(2, 1, 1), counts(2, 1, 1)]);
    }
    assert_counts_equal_brute_force(store).await;
    let again = make(store, "gone").await;
    assert!(again > stays, "no number is given twice");
    assert_eq!(store.counts(&[at(again, TEN)]).await.unwrap(), [counts(0, 0, 0)]);
    assert_eq!(forget_all(&settler).await, 0);
}

async fn a_site_that_is_deleted_while_another_is_forgotten_is_forgotten_too(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (first, second) = (make(store, "first").await, make(store, "second").await);
    let mut writer = writer(store);
    for day in DAYS {
        store_all(&mut writer, &[of(first, click(day, "anna")), of(second, click(day, "anna"))]).await;
    }
    let settler = settler(store).await;
    delete(store, "first").await;
    for _ in 0..2 {
        assert!(settler.forget_deleted_sites().await.unwrap());
    }
    delete(store, "second").await;
    forget_all(&settler).await;
    assert_eq!([rows(&database, first).await, rows(&database, second).await], [[0; 5]; 2]);
}

async fn a_deleted_site_takes_no_events_and_is_neither_repaired_nor_reopened(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let gone = make(store, "gone").await;
    let mut writer = writer(store);
    store_all(&mut writer, &[of(gone, click(TEN, "anna")), of(gone, click(DAYS[1], "anna"))]).await;
    settle(store, at(gone, TEN)).await;
    delete(store, "gone").await;

    let both = [of(gone, click(TEN, "ben")), click(TEN, "ben")];
    let Ingested::Blocked { deleted, .. } = writer.ingest(&both).await.unwrap() else { panic!("it is stored") };
    assert_eq!(deleted, [gone]);
    assert_eq!(rows(&database, SiteId::NAMELESS).await, [0; 5], "a batch is stored as a whole or not at all");
    store.reopen(hour(TEN).hour, &[gone]).await.unwrap();
    let auditor = Auditor::connect(store).await.unwrap();
    assert!(matches!(auditor.repair(at(gone, TEN), true).await.unwrap(), Repaired::NoLongerKept(_)));
    assert!(auditor.forget(&UserName::new("anna").unwrap(), at(gone, TEN)).await.is_err());
    assert_eq!(settler(store).await.settle(hour(DAYS[1]).hour, &[gone]).await.unwrap(), []);
    assert_eq!(rows(&database, gone).await, [2, 1, 1, 0, 1]);
}

async fn events_make_no_more_sites_than_they_may(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let create = async |text, most| Sites(database.store()).create(&name(text), most).await.unwrap();
    assert_eq!(create("a", Some(2)).await, CreatedSite::Created(site(1)));
    assert_eq!(create("a", Some(2)).await, CreatedSite::Exists);
    assert!(matches!(create("b", Some(2)).await, CreatedSite::Created(_)));
    assert_eq!(create("c", Some(2)).await, CreatedSite::TooMany);
    assert_eq!(create("a", Some(2)).await, CreatedSite::Exists, "one that is there is not a new one");
    assert!(matches!(create("c", None).await, CreatedSite::Created(_)));
    delete(database.store(), "a").await;
    assert_eq!(create("d", Some(2)).await, CreatedSite::TooMany);
    delete(database.store(), "b").await;
    assert!(matches!(create("d", Some(2)).await, CreatedSite::Created(_)));
}

async fn raw_events_of_a_site_without_counters_are_kept_until_it_is_repaired_or_deleted(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (shop, gone) = (make(store, "shop").await, make(store, "gone").await);
    let mut writer = writer(store);
    for day in DAYS {
        store_all(&mut writer, &[click(day, "anna")]).await;
        settle(store, hour(day)).await;
    }
    store_all(&mut writer, &[of(gone, click(TEN, "anna")), of(shop, click(DAYS[1], "anna"))]).await;
    let by_hand = "delete from analytics.hour_counts; delete from analytics.hour_users";
    database.client().await.batch_execute(by_hand).await.unwrap();
    let setting = Retention { keep: Some(Duration::from_hours(720)), ..Retention::read(store).await.unwrap() };
    setting.write(store).await.unwrap();
    let kept_from = async || Retention::apply(store).await.unwrap().kept_from.to_rfc3339();

    assert_eq!(kept_from().await, "2015-05-17T00:00:00+00:00");
    delete(store, "gone").await;
    assert_eq!(kept_from().await, "2015-05-18T00:00:00+00:00");
    let repaired = Auditor::connect(store).await.unwrap().repair(at(shop, DAYS[1]), false).await.unwrap();
    assert!(matches!(repaired, Repaired::Done));
    assert_eq!(kept_from().await, "2015-05-18T00:00:00+00:00", "it is open");
    settle(store, at(shop, DAYS[1])).await;
    assert!(kept_from().await.as_str() > "2025");
    assert_eq!(store.counts(&[at(shop, DAYS[1])]).await.unwrap(), [counts(1, 1, 0)]);
}

async fn an_audit_of_one_site_finds_nothing_of_others(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let shop = make(store, "shop").await;
    store_all(&mut writer(store), &[click(TEN, "anna"), of(shop, click(TEN, "anna"))]).await;
    let tamper = "update analytics.hour_counts set clicks = clicks + 1";
    database.client().await.batch_execute(tamper).await.unwrap();
    let auditor = Auditor::connect(store).await.unwrap();
    let one_hour = hour(TEN).hour..=hour(TEN).hour;
    for (asked, expected) in
        [(None, vec![hour(TEN), at(shop, TEN)]), (Some(shop), vec![at(shop, TEN)]), (Some(site(9)), vec![])]
    {
        let found = auditor.audit(&one_hour, asked).await.unwrap();
        assert!(found.iter().all(|hour| !hour.differences().is_empty()));
        assert_eq!(found.iter().map(|hour| hour.site_hour).collect::<Vec<_>>(), expected, "{asked:?}");
    }
}

async fn an_hour_of_ten_thousand_sites_is_settled_and_reopened_at_once(flavour: Flavour) {
    const SITES: i32 = 10_000;
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let many = format!("insert into analytics.sites (name) select 'site' || n from generate_series(1, {SITES}) as n");
    database.client().await.batch_execute(&many).await.unwrap();
    let sites: Vec<SiteId> = (1..=SITES).map(site).collect();
    let events: Vec<SiteEvent> = sites.iter().map(|site| of(*site, click(TEN, "anna"))).collect();
    let mut writer = writer(store);
    for some in events.chunks(5_000) {
        store_all(&mut writer, some).await;
    }
    let outcomes = settler(store).await.settle(hour(TEN).hour, &sites).await.unwrap();
    assert_eq!(outcomes.len(), sites.len());
    let open = async || -> i64 {
        let count = "select count(*) from analytics.hour_counts as c join analytics.hour_users as u using (hour, site)";
        database.client().await.query_one(count, &[]).await.unwrap().get(0)
    };
    assert_eq!(open().await, 0);
    assert_eq!(store.counts(&[at(site(SITES), TEN)]).await.unwrap(), [counts(1, 1, 0)]);
    store_all(&mut writer, &events.iter().map(|event| of(event.site, click(TEN, "ben"))).collect::<Vec<_>>()).await;
    assert_eq!(open().await, 2 * i64::from(SITES) * 2, "a rebuilt row and one of the writer, for two users");
    assert_eq!(store.counts(&[at(site(SITES), TEN)]).await.unwrap(), [counts(2, 2, 0)]);
}

async fn while_a_site_is_deleted_no_event_of_it_is_stored_behind_that(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (gone, stays) = (make(store, "gone").await, make(store, "stays").await);
    store_all(&mut writer(store), &[of(gone, click(TEN, "anna")), of(stays, click(TEN, "anna"))]).await;

    let mut tasks = JoinSet::new();
    for task in 0..3 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut writer = writer(&store);
            for n in 0.. {
                let event = |site| of(site, click(TEN, &format!("user-{task}-{n}")));
                match writer.ingest(&[event(gone), event(stays)]).await.unwrap() {
                    Ingested::Stored => {}
                    Ingested::Blocked { deleted, .. } if !deleted.is_empty() => break,
                    Ingested::Blocked { settled, .. } => {
                        for (hour, sites) in SiteHour::by_hour(settled) {
                            store.reopen(hour, &sites).await.unwrap();
                        }
                    }
                    other @ (Ingested::Claimed { .. } | Ingested::Moved(_)) => panic!("{other:?}"),
                }
            }
        });
    }
    let settler = settler(store).await;
    let settling = async {
        loop {
            settler.settle(hour(TEN).hour, &[gone, stays]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let deleting = async {
        while store.counts(&[at(gone, TEN)]).await.unwrap()[0].clicks < 30 {
            tokio::task::yield_now().await;
        }
        loop {
            match Sites(store).delete(&name("gone")).await.unwrap() {
                DeletedSite::Busy => {}
                deleted => break assert_eq!(deleted, DeletedSite::Deleted),
            }
        }
    };
    tokio::select! {
        () = settling => {}
        () = deleting => {}
    }
    let stored = rows(&database, gone).await;
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(rows(&database, gone).await, stored);
    forget_all(&settler).await;
    assert_eq!(rows(&database, gone).await, [0; 5]);
    assert_counts_equal_brute_force(store).await;
}
