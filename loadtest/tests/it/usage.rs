use db::{AccessTokens, Flavour, NewAccessToken};
use harness::{Daemon, TestDatabase};
use model::access::{IssuedToken, Scope};

use crate::{load, loadtest, result_of};

#[tokio::test]
async fn where_no_server_is_there_is_no_run() {
    let (code, printed) = result_of(&load("http://127.0.0.1:1", &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("is analyticsd running?"), "{printed}");
}

#[tokio::test]
async fn a_refusal_before_the_run_is_told_in_the_words_of_the_daemon_and_with_what_to_do() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let issued = IssuedToken::secret([7; IssuedToken::RANDOM_BYTES]);
    let token = NewAccessToken::new(&issued, "load".parse().unwrap(), [Scope::Write].into_iter().collect());
    assert!(AccessTokens(database.store()).create(&token).await.unwrap());
    let daemon = Daemon::start(database.url()).await;
    let token_advice = "; give --token or ANALYTICS_TOKEN, with the scopes write and read";
    for (path, token, parts) in [
        ("", "", ["401 Unauthorized: Token missing: This needs a token with the scope read", token_advice]),
        ("", &issued.text, ["403 Forbidden: ", token_advice]),
        ("/elsewhere", &issued.text, ["404 Not Found: ", "; the path in --host is wrong"]),
    ] {
        let mut command = loadtest();
        command.args(["--host", &format!("{}{path}", daemon.url()), "--run-time", "1s"]);
        let (code, printed) = result_of(&command.env("ANALYTICS_TOKEN", token).output().await.unwrap());
        assert_eq!(code, Some(2), "{printed}");
        for part in parts {
            assert!(printed.contains(part), "{part}: {printed}");
        }
        for part in ["is analyticsd running?", "\"title\"", "\\\"", ".;"] {
            assert!(!printed.contains(part), "{part}: {printed}");
        }
    }
}

#[tokio::test]
async fn a_host_without_a_scheme_speaks_http_and_its_password_is_not_shown() {
    let (code, printed) = result_of(&load("127.0.0.1:1", &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("http://127.0.0.1:1"), "{printed}");
    let (code, printed) = result_of(&load("http://ann:se%40cret@127.0.0.1:1", &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(!printed.contains("cret") && printed.contains("http://127.0.0.1:1"), "{printed}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_not_asked_whether_it_runs() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", server.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = server.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut connection, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let (code, printed) = result_of(&load(&url, &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("no TLS connection") && !printed.contains("is analyticsd running"), "{printed}");
}

#[tokio::test]
async fn a_closed_standard_error_does_not_change_the_exit_code() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = loadtest();
    command.args(["--host", "http://127.0.0.1:1", "--run-time", "1s"]).stderr(writer);
    assert_eq!(command.status().await.unwrap().code(), Some(2));
}

#[tokio::test]
async fn a_wrong_command_line_exits_2_and_says_what_is_accepted() {
    let output = loadtest().args(["--post-share", "2"]).output().await.unwrap();
    let (code, printed) = result_of(&output);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("a number from 0 to 1"), "{printed}");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_without_a_word_of_it_and_a_variable_set_to_nothing_says_nothing() {
    let arguments = ["--host", "http://127.0.0.1:1", "--run-time", "1s"];
    let with =
        async |token| result_of(&loadtest().args(arguments).env("ANALYTICS_TOKEN", token).output().await.unwrap());
    let (code, printed) = with("an odd secret").await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("--token") && printed.contains("accepted is 1 to 512 visible ASCII"), "{printed}");
    assert!(!printed.contains("odd secret"), "{printed}");
    let (code, printed) = with("").await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("is analyticsd running?"), "{printed}");
}

#[tokio::test]
async fn the_help_says_what_the_exit_codes_and_gates_mean() {
    let (code, printed) = result_of(&loadtest().arg("--help").output().await.unwrap());
    assert_eq!(code, Some(0));
    for part in ["Exit codes:", "KIND=NUMBER", "--rate", "--replay", "--seed"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
}

#[tokio::test]
async fn an_unwritable_report_folder_is_an_error_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("goose.html")).unwrap();
    let arguments = ["--report-dir", dir.path().to_str().unwrap()];
    let (code, printed) = result_of(&load("http://127.0.0.1:1", &arguments).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("--report-dir") && !printed.contains("is analyticsd running?"), "{printed}");
}

#[tokio::test]
async fn a_machine_without_certificates_of_authorities_is_told_what_it_lacks() {
    let mut command = loadtest();
    command.args(["--host", "http://127.0.0.1:1", "--run-time", "1s"]);
    command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    let (code, printed) = result_of(&command.output().await.unwrap());
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("No CA certificates"), "{printed}");
}
