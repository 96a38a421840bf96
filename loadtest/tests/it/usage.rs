use crate::{load, loadtest, told};

#[tokio::test]
async fn where_no_server_is_there_is_no_run() {
    let (code, told) = told(&load("http://127.0.0.1:1", &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("is analyticsd running?"), "{told}");
}

#[tokio::test]
async fn a_reader_of_what_it_tells_who_is_gone_changes_nothing_about_how_it_ends() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = loadtest();
    command.args(["--host", "http://127.0.0.1:1", "--run-time", "1s"]).stderr(writer);
    assert_eq!(command.status().await.unwrap().code(), Some(2));
}

#[tokio::test]
async fn a_wrong_command_line_exits_2_and_says_what_is_accepted() {
    let output = loadtest().args(["--post-share", "2"]).output().await.unwrap();
    let (code, told) = told(&output);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("a number from 0 to 1"), "{told}");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_without_a_word_of_it_and_a_variable_set_to_nothing_says_nothing() {
    let arguments = ["--host", "http://127.0.0.1:1", "--run-time", "1s"];
    let with = async |token| told(&loadtest().args(arguments).env("ANALYTICS_TOKEN", token).output().await.unwrap());
    let (code, told) = with("an odd secret").await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--token") && told.contains("accepted is 1 to 512 visible ASCII"), "{told}");
    assert!(!told.contains("odd secret"), "{told}");
    let (code, told) = with("").await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("is analyticsd running?"), "{told}");
}

#[tokio::test]
async fn the_help_says_what_the_exit_codes_and_gates_mean() {
    let (code, told) = told(&loadtest().arg("--help").output().await.unwrap());
    assert_eq!(code, Some(0));
    for part in ["Exit codes:", "KIND=NUMBER", "--rate", "--replay", "--seed"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_said_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("goose.html")).unwrap();
    let arguments = ["--report-dir", dir.path().to_str().unwrap()];
    let (code, told) = told(&load("http://127.0.0.1:1", &arguments).await);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--report-dir") && !told.contains("is analyticsd running?"), "{told}");
}
