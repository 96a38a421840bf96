use db::{
    Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedError, EmbeddedKind},
    schema,
};
use harness::{embedded_options, server_dir};

use crate::support::{click, counts, hour, store_all, writer};

const TEN: &str = "2015-05-17T10:00:00Z";

async fn open(embedded: &Embedded) -> Store {
    let store = Store::new(embedded.url(), StoreOptions::default()).unwrap();
    schema::migrate(&store, None).await.unwrap();
    store
}

async fn keeps_its_data(flavour: Flavour, kind: EmbeddedKind) {
    let dir = server_dir();
    let mut options = embedded_options(dir.path(), flavour);
    let embedded = Embedded::start(&options).await.unwrap();
    assert_eq!(embedded.kind(), kind);
    store_all(&mut writer(&open(&embedded).await), &[click(TEN, "anna")]).await;
    embedded.stop().await.unwrap();

    // The folder's own data decide, not what would be chosen for an empty one.
    options.kind = None;
    let embedded = Embedded::start(&options).await.unwrap();
    assert_eq!(embedded.kind(), kind);
    let store = open(&embedded).await;
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_native_database_keeps_its_data_between_starts() {
    keeps_its_data(Flavour::Postgres, EmbeddedKind::Native).await;
}

#[tokio::test]
async fn a_webassembly_database_keeps_its_data_between_starts() {
    keeps_its_data(Flavour::Timescale, EmbeddedKind::Wasm).await;
}

#[tokio::test]
async fn a_folder_in_use_is_not_opened_twice() {
    let dir = server_dir();
    let options = embedded_options(dir.path(), Flavour::Postgres);
    let embedded = Embedded::start(&options).await.unwrap();
    assert!(matches!(Embedded::start(&options).await, Err(EmbeddedError::InUse(_))));
    embedded.stop().await.unwrap();
    Embedded::start(&options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_whose_path_will_not_do_for_a_socket_works_all_the_same() {
    let dir = server_dir();
    for name in ["a".repeat(120), "one, two".to_owned(), "it's a \"folder\"".to_owned(), "@home".to_owned()] {
        let folder = dir.path().join(&name);
        std::fs::create_dir(&folder).unwrap();
        let embedded = Embedded::start(&embedded_options(&folder, Flavour::Postgres)).await.expect(&name);
        open(&embedded).await;
        embedded.stop().await.unwrap();
    }
}

#[tokio::test]
async fn data_of_a_version_that_is_not_installed_are_not_given_to_another() {
    let dir = server_dir();
    let options = embedded_options(dir.path(), Flavour::Postgres);
    Embedded::start(&options).await.unwrap().stop().await.unwrap();
    std::fs::write(dir.path().join("native/data/PG_VERSION"), "9\n").unwrap();
    let Err(error) = Embedded::start(&options).await else { panic!("it started") };
    assert!(matches!(&error, EmbeddedError::Missing { kind: EmbeddedKind::Native, .. }), "{error}");
    assert!(error.to_string().contains("is of PostgreSQL 9, whose server is not installed"), "{error}");
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_leaves_nothing_that_the_next_one_trips_over() {
    for (flavour, kind) in [(Flavour::Postgres, "native"), (Flavour::Timescale, "wasm")] {
        let dir = server_dir();
        let unfinished = dir.path().join(kind).join("data.unfinished");
        std::fs::create_dir_all(&unfinished).unwrap();
        std::fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
        let embedded = Embedded::start(&embedded_options(dir.path(), flavour)).await.unwrap();
        open(&embedded).await;
        embedded.stop().await.unwrap();
        assert!(!unfinished.exists());
    }
}

#[tokio::test]
async fn binaries_that_are_not_where_they_are_said_to_be_are_named() {
    let dir = server_dir();
    let options = db::embedded::EmbeddedOptions {
        postgres_bin: Some("/nowhere".into()),
        ..embedded_options(dir.path(), Flavour::Postgres)
    };
    let Err(error) = Embedded::start(&options).await else { panic!("it started") };
    assert!(error.to_string().contains("/nowhere does not hold postgres and initdb"), "{error}");
}
