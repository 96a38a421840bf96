//! HTTPS, with a certificate that the machine does not trust, at the documented proxy.

use db::Flavour;
use harness::{Authority, Daemon, TestDatabase};

use crate::{load, proxy::Proxy, result_of};

#[tokio::test]
async fn https_is_spoken_with_an_authority_of_ones_own_and_what_to_do_is_said_where_it_is_missing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--allow-anonymous"]).await;
    let [ours, others] = ["ours", "others"].map(Authority::new);
    let proxy = Proxy::start_tls(&[daemon.url()], &ours).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let of_both = file("both.pem", &(others.certificate() + &ours.certificate()));
    let arguments = ["--run-time", "1s", "--max-error-rate", "0"];
    let (code, printed) = result_of(&load(proxy.url(), &[&arguments[..], &["--ca-file", &of_both]].concat()).await);
    assert_eq!(code, Some(0), "{printed}");

    let other = file("other.pem", &others.certificate());
    for more in [&["--ca-file", &*other][..], &[]] {
        let (code, printed) = result_of(&load(proxy.url(), &[&arguments[..], more].concat()).await);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("no TLS connection") && printed.contains("--ca-file"), "{printed}");
    }
    let missing = dir.path().join("missing.pem").to_str().unwrap().to_owned();
    let garbage = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n";
    for (file, expected) in [
        (missing, "cannot read"),
        (file("nothing.pem", "nothing"), "no certificate in PEM"),
        (file("garbage.pem", garbage), "no certificate in PEM"),
    ] {
        let (code, printed) = result_of(&load(proxy.url(), &["--ca-file", &file]).await);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains(expected) && printed.contains("--ca-file"), "{printed}");
    }
    proxy.stop().await;
}
