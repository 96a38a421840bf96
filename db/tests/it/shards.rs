use std::time::Duration;

use db::{
    CreatedSite, DeletedSite, Flavour, Ingested, RenamedSite, Retention, Shards, ShardsError, Sites, StoreError,
    StoreOptions,
};
use harness::{TestDatabase, TestShards, on_both_flavours};
use model::{ShardCount, SiteEvent, SiteId, SiteName, UserName};

use crate::support::{click, counts, hour, settle, store_all, writer};

on_both_flavours!(
    raw_events_are_deleted_by_the_bound_of_the_first_shard,
    the_sites_of_the_first_shard_are_those_of_all
);

const OLD: &str = "2015-05-17T10:00:00Z";
const DAY: Duration = Duration::from_hours(24);

fn shards_at(databases: &[&TestDatabase]) -> Shards {
    let urls: Vec<&str> = databases.iter().map(|database| database.url()).collect();
    Shards::new(&urls, &StoreOptions::default()).unwrap()
}

/// A visitor of each shard.
fn visitors(shards: usize) -> Vec<String> {
    let count = ShardCount::new(shards).unwrap();
    let name = |shard| {
        let names = (0..).map(|number| format!("visitor-{number}"));
        names.into_iter().find(|name| count.shard_of(&UserName::new(name.clone()).unwrap()) == shard).unwrap()
    };
    (0..shards).map(name).collect()
}

#[tokio::test]
async fn the_database_finds_the_shard_of_a_visitor_as_the_programs_do() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    for shards in [1, 2, 7, 16, 256] {
        let count = ShardCount::new(shards).unwrap();
        for number in 0..200 {
            let name = format!("visitor-{number}-ü");
            let row = client
                .query_one("select analytics.shard_of($1, $2)", &[&name, &i32::try_from(shards).unwrap()])
                .await
                .unwrap();
            let shard: i32 = row.get(0);
            assert_eq!(usize::try_from(shard).unwrap(), count.shard_of(&UserName::new(name).unwrap()));
        }
    }
}

#[tokio::test]
async fn databases_that_were_given_identities_in_part_get_the_rest_when_they_are_migrated_again() {
    let [one, other] = [(); 2].map(|()| TestDatabase::without_schema(Flavour::Postgres));
    let (one, other) = (one.await, other.await);
    let shards = shards_at(&[&one, &other]);
    shards.migrate(None, None).await.unwrap();
    // As if it had been interrupted between the two.
    one.client().await.batch_execute("update analytics.settings set is_founded = false").await.unwrap();
    let forget = "update analytics.settings set counter = null, shard = 0, shards = 1, is_founded = false";
    other.client().await.batch_execute(forget).await.unwrap();
    let error = shards.verify().await.unwrap_err();
    assert!(error.to_string().contains("does not say which shard it is"), "{error}");
    shards.migrate(None, None).await.unwrap();
    shards.verify().await.unwrap();

    // Once all have theirs, a new database has no place among them.
    other.client().await.batch_execute(forget).await.unwrap();
    assert!(matches!(shards.migrate(None, None).await, Err(ShardsError::New(_))));
}

#[tokio::test]
async fn programs_that_migrate_at_once_make_one_counter() {
    let databases = [(); 3].map(|()| TestDatabase::without_schema(Flavour::Postgres));
    let [a, b, c] = databases;
    let (a, b, c) = (a.await, b.await, c.await);
    let shards = shards_at(&[&a, &b, &c]);
    let migrations = (0..3).map(|_| {
        let shards = shards.clone();
        tokio::spawn(async move { shards.migrate(None, None).await.map(drop) })
    });
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.unwrap().unwrap();
    }
    shards.verify().await.unwrap();
}

#[tokio::test]
async fn none_is_migrated_unless_all_answer() {
    let new = TestDatabase::without_schema(Flavour::Postgres).await;
    let urls = [new.url(), "postgres://postgres@127.0.0.1:1/nobody"];
    let error = Shards::new(&urls, &StoreOptions::default()).unwrap().migrate(None, None).await.unwrap_err();
    assert!(matches!(error, ShardsError::Store(_, StoreError::Unreachable(_))), "{error}");
    let schemas = "select count(*) from pg_namespace where nspname = 'analytics'";
    assert_eq!(new.client().await.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 0);
}

async fn raw_events_are_deleted_by_the_bound_of_the_first_shard(flavour: Flavour) {
    let of_shards = TestShards::new(&[flavour; 2]).await;
    let shards = of_shards.shards();
    for (store, user) in shards.iter().zip(visitors(2)) {
        store_all(&mut writer(store), &[click(OLD, &user)]).await;
        settle(store, hour(OLD)).await;
    }
    let keep = Retention { keep: Some(30 * DAY), ..Retention::read(shards.first()).await.unwrap() };
    keep.write(shards.first()).await.unwrap();
    let events = async || {
        let mut events = Vec::new();
        for store in shards.iter() {
            events.push(store.stored_events().await.unwrap().len());
        }
        events
    };
    // A shard that does not take the bound keeps all of them from deleting.
    let other = of_shards.databases()[1].client().await;
    let away = "alter function analytics.take_retention rename to gone";
    other.batch_execute(away).await.unwrap();
    shards.apply_retention().await.unwrap_err();
    assert_eq!(events().await, [1, 1]);
    other.batch_execute("alter function analytics.gone rename to take_retention").await.unwrap();

    shards.apply_retention().await.unwrap();
    assert_eq!(events().await, [0, 0]);
    let bound = Retention::accepts_from(shards.first()).await.unwrap();
    for (store, user) in shards.iter().zip(visitors(2)) {
        assert_eq!(store.counts(&[hour(OLD)]).await.unwrap(), [counts(1, 1, 0)]);
        assert_eq!(Retention::accepts_from(store).await.unwrap(), bound);
        let refused = Ingested::Blocked { settled: vec![], expired: vec![hour(OLD)], deleted: vec![] };
        assert_eq!(writer(store).ingest([&click(OLD, &user)]).await.unwrap(), refused);
    }
}

async fn the_sites_of_the_first_shard_are_those_of_all(flavour: Flavour) {
    let of_shards = TestShards::new(&[flavour; 2]).await;
    let shards = of_shards.shards();
    let sites = Sites(shards.first());
    let shop = made(shards, &["shop", "blog"]).await[0];
    let names = async || sites_in(&of_shards.databases()[1]).await;
    assert_eq!(names().await, "shop blog");
    // They change names with each other.
    for (from, to) in [("shop", "x"), ("blog", "shop"), ("x", "blog")] {
        sites.rename(&name(from), &name(to)).await.unwrap();
    }
    shards.copy_sites().await.unwrap();
    assert_eq!(names().await, "blog shop");

    let event = SiteEvent { site: shop, ..click(OLD, "anna") };
    store_all(&mut writer(&shards[1]), std::slice::from_ref(&event)).await;
    assert_eq!(sites.delete(&name("blog")).await.unwrap(), DeletedSite::Deleted);
    shards.copy_sites().await.unwrap();
    assert_eq!(names().await, "-blog shop");
    let refused = Ingested::Blocked { settled: vec![], expired: vec![], deleted: vec![shop] };
    assert_eq!(writer(&shards[1]).ingest([&event]).await.unwrap(), refused);
}

/// What a shard has of the sites, in the order in which they were made: the name of each, behind a `-` where it is deleted.
async fn sites_in(database: &TestDatabase) -> String {
    let list = "select string_agg(case when deleted_at is null then '' else '-' end || name, ' ' order by created_at) from analytics.sites";
    database.client().await.query_one(list, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

fn name(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

/// Makes sites of these names in shard 0, and in the others too.
async fn made(shards: &Shards, names: &[&str]) -> Vec<SiteId> {
    let mut made = Vec::new();
    for site in names {
        let CreatedSite::Created(id) = shards.create_site(&name(site), None).await.unwrap() else { panic!("{site}") };
        made.push(id);
    }
    shards.copy_sites().await.unwrap();
    made
}

/// Lets shard 0 be as it was when it had the sites that are given, none of them deleted.
async fn restore_first(of_shards: &TestShards, sites: &[&str]) {
    let client = of_shards.databases()[0].client().await;
    client.execute("delete from analytics.sites where name <> all ($1)", &[&sites]).await.unwrap();
    let as_before = "update analytics.sites set deleted_at = null, forgotten_at = null; alter sequence analytics.sites_id_seq restart";
    client.batch_execute(as_before).await.unwrap();
}

#[tokio::test]
async fn a_first_shard_that_was_restored_gets_back_what_the_others_know_of_the_sites() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let (shards, [first, one, other]) = (of_shards.shards(), [0, 1, 2].map(|shard| &of_shards.databases()[shard]));
    let sites = Sites(shards.first());
    let [_, _, shop, blog] = made(shards, &["old", "gone", "shop", "blog"]).await[..] else { panic!("four were made") };
    assert_eq!(sites.delete(&name("gone")).await.unwrap(), DeletedSite::Deleted);
    shards.copy_sites().await.unwrap();

    restore_first(&of_shards, &["old", "gone"]).await;
    assert_eq!(sites_in(first).await, "old gone");
    assert_eq!(sites.rename(&name("old"), &name("older")).await.unwrap(), RenamedSite::Renamed);
    // As a program would that does not know of the other shards.
    let CreatedSite::Created(again) = sites.create(&name("shop"), None).await.unwrap() else { panic!("it is new") };
    assert!(again != shop);

    assert_eq!(shards.create_site(&name("blog"), None).await.unwrap(), CreatedSite::Exists);
    let expected = format!("older -gone shop.{} blog shop", shop.number());
    assert_eq!(sites_in(first).await, expected);
    assert_eq!(sites.find(&name("blog")).await.unwrap(), Some(blog));
    shards.copy_sites().await.unwrap();
    for shard in [one, other] {
        assert_eq!(sites_in(shard).await, expected);
    }

    let changes = shards.site_changes().await.unwrap();
    shards.recover_sites().await.unwrap();
    shards.copy_sites().await.unwrap();
    assert_eq!(shards.site_changes().await.unwrap(), changes, "there is nothing to give back");
    // The name and the number of the site that was made again are at most as long as a name may be.
    let long = "a".repeat(64);
    made(shards, &[&long]).await;
    restore_first(&of_shards, &["older"]).await;
    sites.create(&name(&long), None).await.unwrap();
    shards.copy_sites().await.unwrap();
    assert!(sites_in(other).await.contains(" aaaaaaaaaa"), "{}", sites_in(other).await);
    assert_eq!(sites_in(other).await, sites_in(first).await);
}

#[tokio::test]
async fn a_site_that_is_deleted_in_any_shard_is_alive_in_none_and_is_forgotten_once_more_where_it_came_back() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let shards = of_shards.shards();
    made(shards, &["shop"]).await;
    assert_eq!(Sites(shards.first()).delete(&name("shop")).await.unwrap(), DeletedSite::Deleted);
    shards.copy_sites().await.unwrap();
    restore_first(&of_shards, &["shop"]).await;
    // As if it could not be given back meanwhile.
    let first = of_shards.databases()[0].client().await;
    first.batch_execute("alter function analytics.recover_sites rename to gone").await.unwrap();
    assert_eq!(shards.copy_sites().await.unwrap_err().len(), 1);
    assert_eq!(sites_in(&of_shards.databases()[1]).await, "-shop");
    first.batch_execute("alter function analytics.gone rename to recover_sites").await.unwrap();
    shards.copy_sites().await.unwrap();
    for database in of_shards.databases() {
        assert_eq!(sites_in(database).await, "-shop");
    }
    let pending = "select count(*) from analytics.sites where deleted_at is not null and forgotten_at is null";
    assert_eq!(first.query_one(pending, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_site_that_a_shard_cannot_take_keeps_no_other_from_it() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let (shards, [first, other]) = (of_shards.shards(), [0, 1].map(|shard| &of_shards.databases()[shard]));
    let shop = made(shards, &["shop"]).await[0].number();
    let by_hand = "update analytics.sites set created_at = created_at + interval '1 second'";
    other.client().await.batch_execute(by_hand).await.unwrap();
    let sites = Sites(shards.first());
    sites.rename(&name("shop"), &name("store")).await.unwrap();
    sites.create(&name("shop"), None).await.unwrap();
    sites.create(&name("blog"), None).await.unwrap();
    let [error] = &shards.copy_sites().await.unwrap_err()[..] else { panic!("one shard") };
    let error = error.to_string();
    assert!(error.starts_with("shard 1 (") && error.ends_with(&format!(": [{shop}]")), "{error}");
    assert_eq!(sites_in(first).await, "store shop blog");
    let mut taken: Vec<String> = sites_in(other).await.split(' ').map(str::to_owned).collect();
    taken.sort();
    assert_eq!(taken, ["blog", "shop", &format!("shop.{shop}")]);
}

#[tokio::test]
async fn every_shard_that_is_away_is_told_of_and_no_site_is_made_meanwhile() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let away = |shard: usize| format!("postgres://postgres@127.0.0.1:1/shard_{shard}");
    let urls = [of_shards.databases()[0].url().to_owned(), away(1), away(2)];
    let shards = Shards::new(&urls, &StoreOptions::default()).unwrap();
    shards.remember(of_shards.shards().counter().unwrap());
    let error = shards.create_site(&name("shop"), None).await.unwrap_err();
    assert_eq!(error.shard(), Some(1), "{error}");
    assert_eq!(sites_in(&of_shards.databases()[0]).await, "");
    let told: Vec<_> = shards.copy_sites().await.unwrap_err().iter().map(ShardsError::shard).collect();
    assert_eq!(told, [Some(1), Some(2)]);
}

#[tokio::test]
async fn the_shards_of_one_instance_move_one_after_the_other_in_either_order() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let shards = of_shards.shards();
    let elsewhere = ["db-b.example:5432".to_owned()];
    for order in [[0, 1, 2], [2, 1, 0]] {
        // All move.
        let mut here = String::new();
        for shard in order {
            here = shards.move_shard(shard, Some(&elsewhere)).await.unwrap().server;
        }
        for shard in order {
            shards.move_shard(shard, None).await.unwrap();
        }
        // One moves, and the others stay.
        let here = [here];
        for shard in order {
            let lives_at = if shard == 0 { &elsewhere } else { &here };
            shards.move_shard(shard, Some(lives_at)).await.unwrap();
        }
        let error = shards.verify().await.unwrap_err().to_string();
        assert!(error.starts_with("shard 0 (") && error.lines().count() == 1, "{error}");
        for shard in order {
            shards.move_shard(shard, None).await.unwrap();
        }
        shards.verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_shard_that_moved_stores_nothing_where_it_was() {
    let of_shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let shards = of_shards.shards();
    let mut writer = writer(&shards[1]);
    let event = click(OLD, &visitors(2)[1]);
    writer.ingest([&event]).await.unwrap();

    let elsewhere = ["db-b.example:5432".to_owned()];
    let left = shards.move_shard(1, Some(&elsewhere)).await.unwrap();
    assert!(left.ended > 0 && left.remaining.is_empty() && left.log_position.contains('/'), "{left:?}");
    writer.ingest([&event]).await.unwrap_err();
    let error = writer.ingest([&event]).await.unwrap_err().to_string();
    assert!(error.contains("is used at db-b.example:5432 now, and this is a copy of it"), "{error}");
    let error = shards.verify().await.unwrap_err();
    assert!(matches!(&error, ShardsError::Misplaced(_)), "{error}");
    assert_eq!(shards.first().counts(&[hour(OLD)]).await.unwrap(), [counts(0, 0, 0)], "the other shard goes on");

    // It may be taken back, and be used wherever it is.
    assert_eq!(shards.move_shard(1, Some(std::slice::from_ref(&left.server))).await.unwrap().ended, 0);
    shards.verify().await.unwrap();
    shards.move_shard(1, None).await.unwrap();
    store_all(&mut writer, &[event]).await;
    assert_eq!(shards[1].counts(&[hour(OLD)]).await.unwrap(), [counts(1, 2, 0)]);
}
