//! TLS to a real server that lets nobody in without, with an authority of the test's own.

use db::{Store, StoreOptions};
use harness::{Authority, Issued, TlsServer, Validity};

fn store(url: &str) -> Store {
    Store::new(url, StoreOptions::default()).unwrap()
}

/// What comes of a connection.
async fn comes_to(url: &str) -> Result<(), String> {
    store(url).ping().await.map_err(|error| error.to_string())
}

async fn fails_with(url: &str, parts: &[&str]) {
    let error = comes_to(url).await.expect_err(url);
    for part in parts {
        assert!(error.contains(part), "{url}: {error}");
    }
}

#[tokio::test]
async fn each_mode_checks_of_the_server_what_libpq_says() {
    let tls = TlsServer::start().await;
    let ours = format!("sslrootcert={}", tls.root_file(&tls.authority));
    for parameters in ["", "sslmode=prefer", "sslmode=require"] {
        comes_to(&tls.url(parameters)).await.unwrap();
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        comes_to(&tls.url(&format!("sslmode={mode}&{ours}"))).await.unwrap();
    }
    let by_pairs =
        format!("host=db.test hostaddr={} user=analytics dbname=analytics sslmode='verify-full' {ours}", tls.address());
    comes_to(&by_pairs).await.unwrap();

    fails_with(
        &tls.url("sslmode=disable"),
        &["does not let this login in from here without TLS", "sslmode=verify-full"],
    )
    .await;
    // Under another name than that of the certificate.
    let elsewhere = format!("postgres://analytics@{}/analytics?{ours}", tls.address());
    comes_to(&format!("{elsewhere}&sslmode=verify-ca")).await.unwrap();
    fails_with(
        &format!("{elsewhere}&sslmode=verify-full"),
        &["the server's certificate is for other host names", "db.test", "subjectAltName"],
    )
    .await;
    // What the system trusts does not have an authority of ours in it.
    fails_with(&tls.url("sslrootcert=system"), &["does not trust the server's certificate", "sslrootcert=FILE"]).await;
}

#[tokio::test]
async fn a_server_is_not_trusted_with_a_certificate_of_somebody_else_s_or_out_of_date() {
    let tls = TlsServer::start().await;
    let checked = tls.url(&format!("sslmode=verify-full&sslrootcert={}", tls.root_file(&tls.authority)));
    comes_to(&checked).await.unwrap();
    let strangers = Authority::new("a stranger").server(&["db.test"], Validity::Now);
    for (certificate, part) in [
        (strangers, "does not trust the server's certificate"),
        (tls.authority.server(&["db.test"], Validity::Expired), "certificate has expired"),
        (tls.authority.server(&["db.test"], Validity::NotYet), "certificate is not valid yet"),
        (tls.authority.server(&["db.example"], Validity::Now), "for other host names"),
    ] {
        tls.show(&certificate).await;
        fails_with(&checked, &[part]).await;
        comes_to(&tls.url("sslmode=require")).await.unwrap();
    }
    tls.show(&tls.authority.server(&["*.example", "db.test"], Validity::Now)).await;
    comes_to(&checked).await.unwrap();
}

#[tokio::test]
async fn a_server_that_shows_the_very_certificate_that_is_trusted_is_trusted_while_it_is_valid() {
    let tls = TlsServer::start().await;
    for (validity, part) in
        [(Validity::Now, None), (Validity::Expired, Some("has expired")), (Validity::NotYet, Some("not valid yet"))]
    {
        let own = Issued::by_itself("db.test", validity);
        let (certificate, _) = own.write(tls.files(), "own");
        tls.show(&own).await;
        let checked = tls.url(&format!("sslmode=verify-full&sslrootcert={}", certificate.display()));
        match part {
            None => comes_to(&checked).await.unwrap(),
            Some(part) => fails_with(&checked, &[part]).await,
        }
    }
    let other = Issued::by_itself("db.example", Validity::Now);
    let (certificate, _) = other.write(tls.files(), "other");
    tls.show(&other).await;
    fails_with(&tls.url(&format!("sslmode=verify-full&sslrootcert={}", certificate.display())), &["other host names"])
        .await;
}

/// Also PostgreSQL's own programs do not take such a certificate for an authority.
#[tokio::test]
async fn a_server_s_own_certificate_that_is_trusted_vouches_for_no_other() {
    let tls = TlsServer::start().await;
    let own = tls.authority.server(&["db.test"], Validity::Now);
    let (certificate, _) = own.write(tls.files(), "own");
    tls.show(&own).await;
    let checked = tls.url(&format!("sslmode=verify-full&sslrootcert={}", certificate.display()));
    comes_to(&checked).await.unwrap();
    tls.show(&tls.authority.server(&["db.test"], Validity::Now)).await;
    fails_with(&checked, &["does not trust the server's certificate"]).await;
    // Nobody vouches for a certificate that signed itself, unless it is named.
    tls.show(&Issued::by_itself("db.test", Validity::Now)).await;
    let ours = tls.url(&format!("sslmode=verify-full&sslrootcert={}", tls.root_file(&tls.authority)));
    fails_with(&ours, &["does not trust the server's certificate", "the server's own if nobody else signed that"])
        .await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_the_server_asks_for_one() {
    let tls = TlsServer::start().await;
    tls.server.let_in("local all all trust\nhostssl all all 127.0.0.0/8 cert\n").await;
    let ask = "sslcert=FILE and sslkey=FILE";
    fails_with(&tls.url("sslmode=require"), &["certificate", ask]).await;

    let with = |issued: Issued, name: &str| {
        let (certificate, key) = issued.write(tls.files(), name);
        tls.url(&format!("sslmode=require&sslcert={}&sslkey={}", certificate.display(), key.display()))
    };
    comes_to(&with(tls.authority.client("analytics"), "ours")).await.unwrap();
    let strangers = Authority::new("a stranger").client("analytics");
    fails_with(&with(strangers, "strangers"), &["the server does not accept this program's certificate", ask]).await;
    fails_with(&with(tls.authority.client("somebody"), "somebody"), &["certificate authentication failed"]).await;
}

#[tokio::test]
async fn certificates_are_read_again_for_each_connection() {
    let tls = TlsServer::start().await;
    let url = tls.url(&format!("sslmode=verify-full&sslrootcert={}", tls.root_file(&tls.authority)));
    let store = store(&url);
    store.ping().await.unwrap();
    let next = Authority::new("the next authority");
    tls.show(&next.server(&["db.test"], Validity::Now)).await;
    store.ping().await.unwrap_err();
    tls.root_file(&next);
    store.ping().await.unwrap();
    std::fs::remove_file(tls.files().join("roots.pem")).unwrap();
    let error = store.ping().await.unwrap_err().to_string();
    assert!(error.contains("sslrootcert names") && error.contains("cannot be read"), "{error}");
    tls.root_file(&next);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn passwords_are_bound_to_the_channel() {
    let tls = TlsServer::start().await;
    let client = tls.server.client().await;
    client.batch_execute("create role ann login password 'secret'").await.unwrap();
    tls.server.let_in("local all all trust\nhostssl all ann 127.0.0.0/8 scram-sha-256\nhostnossl all ann 127.0.0.0/8 scram-sha-256\n").await;
    let url = |parameters: &str| tls.url(parameters).replace("analytics@", "ann:secret@");
    comes_to(&url("sslmode=require&channel_binding=require")).await.unwrap();
    comes_to(&url("sslmode=require&channel_binding=disable")).await.unwrap();
    // Without TLS there is no channel to bind to.
    client.batch_execute("alter system set ssl = off").await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    while comes_to(&url("sslmode=require")).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    fails_with(&url("channel_binding=require"), &["channel_binding=require"]).await;
    fails_with(&url("sslmode=require"), &["the server speaks no TLS", "ssl = on"]).await;
    comes_to(&url("")).await.unwrap();
}

#[tokio::test]
async fn prefer_goes_without_tls_where_the_server_lets_a_login_in_only_so() {
    let tls = TlsServer::start().await;
    tls.server.let_in("local all all trust\nhostnossl all all 127.0.0.0/8 trust\n").await;
    comes_to(&tls.url("")).await.unwrap();
    comes_to(&tls.url("sslmode=disable")).await.unwrap();
    fails_with(&tls.url("sslmode=require"), &["pg_hba.conf"]).await;
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named_before_anything_is_tried() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let client = Authority::new("an authority").client("ann");
    client.write(files.path(), "ann");
    Authority::new("an authority").client("ben").write(files.path(), "other");
    let hidden = Issued {
        certificate: String::new(),
        key: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned(),
    };
    hidden.write(files.path(), "encrypted");
    let half = format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", client.certificate);
    std::fs::write(path("half.pem"), half).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("open.key"), &client.key).unwrap();
    for (parameters, parts) in [
        (format!("sslmode=verify-full&sslrootcert={}", path("none.pem")), vec!["sslrootcert names", "cannot be read"]),
        (
            format!("sslmode=verify-full&sslrootcert={}", path("empty.pem")),
            vec!["sslrootcert names", "not only, a certificate"],
        ),
        (format!("sslcert={}&sslkey={}", path("ann.pem"), path("open.key")), vec!["chmod 600"]),
        (
            format!("sslcert={}&sslkey={}", path("ann.key"), path("ann.key")),
            vec!["sslcert names", "not only, a certificate"],
        ),
        (format!("sslcert={}&sslkey={}", path("ann.pem"), path("none.key")), vec!["sslkey names", "cannot be read"]),
        (
            format!("sslcert={}&sslkey={}", path("ann.pem"), path("other.key")),
            vec!["cannot be used together", "its own key"],
        ),
        (format!("sslcert={}&sslkey={}", path("ann.pem"), path("encrypted.key")), vec!["openssl pkey"]),
        (format!("sslmode=verify-full&sslrootcert={}", path("half.pem")), vec!["sslrootcert names", "half.pem"]),
    ] {
        let url = format!("postgres://ann:secret@h/db?{parameters}");
        let error = Store::new(&url, StoreOptions::default()).err().expect(&url).to_string();
        assert!(!error.contains("secret"), "{error}");
        for part in parts {
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
