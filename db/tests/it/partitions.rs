use db::Flavour;
use harness::TestDatabase;

use crate::support::{assert_counts_equal_brute_force, click, store_all, writer};

async fn partitions(database: &TestDatabase) -> Vec<String> {
    let client = database.client().await;
    let rows = client
        .query("select c.relname::text from pg_inherits join pg_class as c on c.oid = inhrelid where inhparent = 'analytics.events'::regclass order by 1", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_partition_is_made_for_each_utc_day_that_events_come_for() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let events = [
        click("1970-01-01T00:00:00Z", "a"),
        click("2015-05-17T00:00:00Z", "a"),
        click("2015-05-17T23:59:59.999Z", "a"),
        click("9999-12-31T23:59:59.999Z", "a"),
    ];
    store_all(&mut writer(database.store()), &events).await;
    let expected = ["19700101", "20150517", "99991231"].map(|day| format!("events_{day}"));
    assert_eq!(partitions(&database).await, expected);
    assert_counts_equal_brute_force(database.store()).await;
}

#[tokio::test]
async fn computing_one_hour_locks_no_partition_but_its_own() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let events: Vec<_> = (1..=9).map(|day| click(&format!("2015-05-0{day}T10:00:00Z"), "a")).collect();
    store_all(&mut writer(database.store()), &events).await;

    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    for day in 1..=9 {
        // Often enough for the server to think about a plan that would serve for any hour.
        transaction.batch_execute(&format!("call analytics.refresh_hour('2015-05-0{day}T10:00Z')")).await.unwrap();
        let locked = "select count(*) from pg_locks join pg_class as c on c.oid = relation \
                      where pid = pg_backend_pid() and c.relname ~ '^events_2015[0-9]+$'";
        assert_eq!(transaction.query_one(locked, &[]).await.unwrap().get::<_, i64>(0), day);
    }
}
