use db::{Claim, Flavour, Ingested, Writer};
use harness::{TestDatabase, on_both_flavours};
use model::{ContentCheck, IdempotencyKey, SiteId, SourceName, SourcePosition, SourceStep, Submission};
use tokio::task::JoinSet;

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, impression, settle, writer};

on_both_flavours!(
    a_source_moves_with_its_events_and_only_from_where_it_stands,
    another_content_under_the_same_name_is_refused,
    sources_of_a_commit_move_together_or_not_at_all,
    a_batch_that_is_blocked_moves_no_source,
    a_source_moves_without_an_event,
    one_step_from_many_writers_at_once_is_stored_once,
    sources_are_listed_by_the_beginning_of_their_names,
);

const TEN: &str = "2015-05-17T10:00:00Z";

fn name(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

fn at(position: u64) -> SourcePosition {
    SourcePosition { position, check: None }
}

fn checked(position: u64, check: &str) -> SourcePosition {
    SourcePosition { position, check: Some(check.parse::<ContentCheck>().unwrap()) }
}

fn step(source: &str, from: SourcePosition, to: SourcePosition) -> SourceStep {
    SourceStep { site: SiteId::NAMELESS, source: name(source), from, to }
}

async fn store(writer: &mut Writer, steps: &[SourceStep]) -> Ingested {
    writer.ingest_once(&[click(TEN, "anna")], &[], steps).await.unwrap()
}

async fn a_source_moves_with_its_events_and_only_from_where_it_stands(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    assert_eq!(store(&mut writer, &[step("a", at(0), at(2))]).await, Ingested::Stored);
    // One that was given up, one that is sent again, one that comes too early: none may end up stored.
    for (from, to) in [(0, 1), (0, 2), (0, 5), (1, 5), (3, 5)] {
        assert_eq!(store(&mut writer, &[step("a", at(from), at(to))]).await, Ingested::Moved(vec![(0, at(2))]));
    }
    assert_eq!(store(&mut writer, &[step("a", at(2), at(3))]).await, Ingested::Stored);
    assert_eq!(store(&mut writer, &[step("b", at(0), at(1))]).await, Ingested::Stored, "b has positions of its own");
    let of_site = SourceStep { site: SiteId::new(7).unwrap(), ..step("a", at(0), at(9)) };
    assert_eq!(store(&mut writer, &[of_site]).await, Ingested::Stored, "each site has names of its own");
    assert_eq!(database.store().source_position(SiteId::NAMELESS, &name("a")).await.unwrap(), at(3));
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, 4, 0)]);
    assert_counts_equal_brute_force(database.store()).await;
}

async fn another_content_under_the_same_name_is_refused(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    assert_eq!(store(&mut writer, &[step("a", at(0), checked(2, "aa"))]).await, Ingested::Stored);
    let stands = Ingested::Moved(vec![(0, checked(2, "aa"))]);
    for from in [checked(2, "bb"), at(2), checked(2, "aaaa")] {
        assert_eq!(store(&mut writer, &[step("a", from, checked(4, "cc"))]).await, stands);
    }
    assert_eq!(store(&mut writer, &[step("a", checked(2, "aa"), checked(4, "cc"))]).await, Ingested::Stored);
    let position = database.store().source_position(SiteId::NAMELESS, &name("a")).await.unwrap();
    assert_eq!(position, checked(4, "cc"));
}

async fn sources_of_a_commit_move_together_or_not_at_all(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    let key = Submission::new(vec![impression(TEN, "ben")], Some(IdempotencyKey::new("k").unwrap()));
    let claims = Claim::all_of(&key);
    let both = [step("a", at(0), at(2)), step("b", at(0), at(5))];
    assert_eq!(writer.ingest_once(&key.events, &claims, &both).await.unwrap(), Ingested::Stored);
    let one_is_wrong = [step("a", at(2), at(3)), step("b", at(4), at(9))];
    assert_eq!(store(&mut writer, &one_is_wrong).await, Ingested::Moved(vec![(1, at(5))]));
    // Where a batch stands that is stored already is asked before its keys are.
    let again = writer.ingest_once(&key.events, &claims, &both).await.unwrap();
    assert_eq!(again, Ingested::Moved(vec![(0, at(2)), (1, at(5))]));
    assert_eq!(database.store().source_position(SiteId::NAMELESS, &name("a")).await.unwrap(), at(2));
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, 0, 1)]);
}

async fn a_batch_that_is_blocked_moves_no_source(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    assert_eq!(store(&mut writer, &[]).await, Ingested::Stored);
    settle(database.store(), hour(TEN)).await;
    let blocked = store(&mut writer, &[step("a", at(0), at(2))]).await;
    assert!(matches!(blocked, Ingested::Blocked { .. }), "{blocked:?}");
    assert_eq!(database.store().source_position(SiteId::NAMELESS, &name("a")).await.unwrap(), at(0));
}

async fn a_source_moves_without_an_event(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    let none = step("a", at(0), at(2));
    assert_eq!(writer.ingest_once([], &[], std::slice::from_ref(&none)).await.unwrap(), Ingested::Stored);
    assert_eq!(writer.ingest_once([], &[], &[none]).await.unwrap(), Ingested::Moved(vec![(0, at(2))]));
    assert_eq!(store(&mut writer, &[step("a", at(2), at(3))]).await, Ingested::Stored);
}

async fn one_step_from_many_writers_at_once_is_stored_once(flavour: Flavour) {
    const STEPS: u64 = 20;
    let database = TestDatabase::new(flavour).await;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let mut writer = writer(database.store());
        writers.spawn(async move {
            let mut stored = 0;
            for n in 0..STEPS {
                stored += u64::from(store(&mut writer, &[step("a", at(n), at(n + 1))]).await == Ingested::Stored);
            }
            stored
        });
    }
    assert_eq!(writers.join_all().await.iter().sum::<u64>(), STEPS);
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, STEPS, 0)]);
    assert_counts_equal_brute_force(database.store()).await;
}

async fn sources_are_listed_by_the_beginning_of_their_names(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    for source in ["a:2", "a:1", "b:1", "a%", "A:1"] {
        assert_eq!(store(&mut writer, &[step(source, at(0), checked(2, "aa"))]).await, Ingested::Stored);
    }
    let names = async |prefix: &str| {
        let listed = database.store().sources(SiteId::NAMELESS, prefix).await.unwrap();
        listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("a:").await, ["a:1", "a:2"]);
    assert_eq!(names("a").await, ["a%", "a:1", "a:2"]);
    assert_eq!(names("c").await, <[&str; 0]>::default());
    let listed = database.store().sources(SiteId::NAMELESS, "b:1").await.unwrap();
    assert_eq!(listed, [("b:1".to_owned(), checked(2, "aa"))]);
    assert!(database.store().sources(SiteId::new(1).unwrap(), "a").await.unwrap().is_empty());
}
