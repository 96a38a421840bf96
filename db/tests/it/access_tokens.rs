use chrono::{DateTime, Utc};
use db::{AccessTokens, Flavour, LiveAccessToken, NewAccessToken};
use harness::{TestDatabase, on_both_flavours};
use model::access::{IssuedToken, Scope, Scopes};

on_both_flavours!(
    a_change_is_seen_by_whoever_knows_what_was_before,
    nothing_of_a_secret_is_in_the_database_but_its_sum,
    a_public_key_can_only_write_and_only_from_its_origins,
);

fn new(name: &str, issued: &IssuedToken) -> NewAccessToken {
    NewAccessToken::new(issued, name.parse().unwrap(), Scopes::from_iter([Scope::Write, Scope::Read]))
}

fn secret(byte: u8) -> IssuedToken {
    IssuedToken::secret([byte; IssuedToken::RANDOM_BYTES])
}

async fn a_change_is_seen_by_whoever_knows_what_was_before(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let tokens = AccessTokens(database.store());
    let names = async |known: Option<i64>| -> Option<(i64, Vec<String>)> {
        let seen = tokens.changed_since(known).await.unwrap()?;
        let mut ids: Vec<String> = seen.tokens.into_iter().map(|token: LiveAccessToken| token.id).collect();
        ids.sort();
        Some((seen.changes, ids))
    };
    let (a, b, c) = (secret(1), secret(2), secret(3));
    assert_eq!(names(None).await, Some((0, vec![])), "there never was a token");
    assert_eq!(names(Some(0)).await, None);
    assert!(tokens.create(&new("a", &a)).await.unwrap());
    let expired = NewAccessToken { expires_at: DateTime::from_timestamp(1, 0), ..new("b", &b) };
    assert!(tokens.create(&expired).await.unwrap());
    let (known, live) = names(Some(0)).await.unwrap();
    assert_eq!(live, std::slice::from_ref(&a.id), "one that has expired lets nobody in");
    assert!(!tokens.create(&new("a", &c)).await.unwrap(), "the name is taken");

    // A name that looks like the ID of another token does not stand for it.
    assert!(tokens.create(&new(&a.id, &c)).await.unwrap());
    assert_eq!(tokens.revoke(&a.id).await.unwrap(), Some((a.id.clone(), "a".to_owned())));
    assert_eq!(names(Some(known)).await.unwrap().1, std::slice::from_ref(&c.id));
    assert_eq!(tokens.revoke("a").await.unwrap(), None, "it is revoked already");
    assert_eq!(tokens.revoke("' or true --").await.unwrap(), None);
    assert!(tokens.revoke(&c.id).await.unwrap().is_some());

    let client = database.client().await;
    client.batch_execute("delete from analytics.access_tokens").await.unwrap();
    let (after, live) = names(Some(known)).await.unwrap();
    assert!(after > known && live.is_empty(), "what was counted never goes back");
}

async fn nothing_of_a_secret_is_in_the_database_but_its_sum(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let issued = secret(7);
    let before = Utc::now();
    AccessTokens(database.store()).create(&new("shop", &issued)).await.unwrap();
    let row =
        database.client().await.query_one("select t::text, secret_hash from analytics.access_tokens as t", &[]).await;
    let row = row.unwrap();
    let (text, sum): (String, Vec<u8>) = (row.get(0), row.get(1));
    assert!(!text.contains(issued.text.rsplit_once('_').unwrap().1), "{text}");
    assert_eq!(sum, issued.digest.unwrap());
    let listed = AccessTokens(database.store()).list().await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].is_public), ("shop", false));
    assert!((before - listed[0].created_at).num_minutes().abs() < 5, "{listed:?}");
}

async fn a_public_key_can_only_write_and_only_from_its_origins(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let tokens = AccessTokens(database.store());
    let public = new("shop", &IssuedToken::public([1; IssuedToken::RANDOM_BYTES]));
    let origins = vec!["https://shop.example".parse().unwrap()];
    let write = Scopes::from_iter([Scope::Write]);
    for wrong in [
        NewAccessToken { origins: origins.clone(), ..public.clone() },
        NewAccessToken { scopes: write, ..public.clone() },
        NewAccessToken { origins: origins.clone(), ..new("shop", &secret(1)) },
        NewAccessToken { scopes: Scopes::default(), ..new("shop", &secret(1)) },
    ] {
        assert!(tokens.create(&wrong).await.is_err(), "{wrong:?}");
    }
    let right = NewAccessToken { scopes: write, origins, ..public };
    assert!(tokens.create(&right).await.unwrap());
    let seen = tokens.changed_since(None).await.unwrap().unwrap();
    assert_eq!(
        (seen.tokens[0].digest, seen.tokens[0].origins.as_slice()),
        (None, &["https://shop.example".to_owned()][..])
    );
}
