use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use tokio::process::Command;

use crate::{
    liar::{Liar, Lie},
    loadtest, result_of,
};

async fn load_in_a_pipeline(host: &str, dir: &Path, arguments: &[&str]) -> Output {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    loadtest()
        .args(["--host", host, "--users", "4", "--run-time", "1s", "--max-error-rate", "0"])
        .args(["--junit", &path("made/if/need/be/junit.xml"), "--summary", &path("summary.md")])
        .args(arguments)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", path("step"))
        .output()
        .await
        .unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

#[tokio::test]
async fn a_pipeline_reads_the_verdict_whatever_it_is() {
    for (lie, code, verdict) in [(Lie::None, 0, "passed"), (Lie::Loses, 1, "FAILED")] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("step"), "Of a command before.\n").unwrap();
        let reports = dir.path().join("report");
        let arguments = ["--report-dir", reports.to_str().unwrap()];
        let output = load_in_a_pipeline(&Liar::start(lie).await.url, dir.path(), &arguments).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");

        let junit = read(dir.path(), "made/if/need/be/junit.xml");
        assert!(junit.contains(r#"<testcase name="ledger" classname="loadtest.promises""#), "{junit}");
        assert!(junit.contains(r#"<testcase name="error rate of all requests at most 0""#), "{junit}");
        assert!(junit.contains(r#"<testcase name="GET past" classname="loadtest.requests""#), "{junit}");
        let failures = junit.matches("<failure message=").count();
        assert_eq!(failures > 0, code == 1, "{junit}");

        let summary = read(dir.path(), "summary.md");
        assert!(summary.starts_with(&format!("## loadtest {verdict}\n")), "{summary}");
        assert!(summary.contains("[latency.svg](report/latency.svg)"), "{summary}");
        let step = read(dir.path(), "step");
        assert!(step.starts_with(&format!("Of a command before.\n## loadtest {verdict}\n")), "{step}");

        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(stderr.contains("::error title=loadtest%3A ledger::"), code == 1, "{stderr}");
        assert!(!stdout.contains("::error") && stderr.matches("::error").count() == failures, "{stdout}{stderr}");
        let faults = [&junit, &summary, &step, &stderr.into_owned()].map(|text| text.contains(" missing"));
        assert_eq!(faults, [code == 1; 4]);
    }
}

#[tokio::test]
async fn without_the_variables_of_github_nothing_is_said_to_it() {
    let host = Liar::start(Lie::Loses).await.url;
    let output = loadtest().args(["--host", &host, "--users", "4", "--run-time", "1s"]).output().await.unwrap();
    let (code, printed) = result_of(&output);
    assert_eq!(code, Some(1), "{printed}");
    assert!(!printed.contains("::error"), "{printed}");
}

#[tokio::test]
async fn a_run_that_does_not_begin_is_a_failure_too() {
    for (argument, reason) in [
        ("--shared", "is analyticsd running?"),
        ("--max-p9-ms=5", "unexpected argument '--max-p9-ms'"),
        ("--max-p99-ms=@3=5", "there is no such step"),
        ("--speed-up=2", "required arguments were not provided: --replay"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = load_in_a_pipeline("http://127.0.0.1:1", dir.path(), &[argument]).await;
        let (code, printed) = result_of(&output);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("::error title=loadtest%3A run::"), "{printed}");
        assert!(read(dir.path(), "made/if/need/be/junit.xml").contains("<failure message="));
        for name in ["summary.md", "step"] {
            let text = read(dir.path(), name);
            assert!(text.starts_with("## loadtest did not run\n") && text.contains(reason), "{text}");
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_before_the_run() {
    for (name, of) in [("junit.xml", "--junit"), ("summary.md", "--summary"), ("step", "GITHUB_STEP_SUMMARY")] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("made/if/need/be")).unwrap();
        fs::create_dir(dir.path().join(if name == "junit.xml" { "made/if/need/be/junit.xml" } else { name })).unwrap();
        let (code, printed) = result_of(&load_in_a_pipeline("http://127.0.0.1:1", dir.path(), &[]).await);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains(&format!("give a file that can be written as {of}")), "{printed}");
        assert!(!printed.contains("is analyticsd running?"), "{printed}");
        assert_eq!(printed.matches("\nerror: ").count() + usize::from(printed.starts_with("error: ")), 1, "{printed}");
    }
}

#[tokio::test]
async fn the_two_formats_need_a_file_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = loadtest();
    command.args(["--host", "http://127.0.0.1:1", "--junit", "verdict", "--summary", "./verdict"]);
    let (code, printed) = result_of(&command.current_dir(dir.path()).output().await.unwrap());
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("--junit names the same file; give a file that can be written as --summary"), "{printed}");
    assert!(!printed.contains("is analyticsd running?"), "{printed}");
}

#[tokio::test]
async fn the_verdict_is_printed_and_the_other_files_are_written_even_if_one_cannot_be() {
    for (lie, expected) in [(Lie::None, 2), (Lie::Loses, 1)] {
        let dir = tempfile::tempdir().unwrap();
        // Whoever opens this device may, and whoever writes to it finds no room.
        std::os::unix::fs::symlink("/dev/full", dir.path().join("summary.md")).unwrap();
        let (code, printed) = result_of(&load_in_a_pipeline(&Liar::start(lie).await.url, dir.path(), &[]).await);
        assert_eq!(code, Some(expected), "{printed}");
        assert!(printed.contains(" ledger: ") && printed.contains("No space left"), "{printed}");
        assert!(read(dir.path(), "step").starts_with("## loadtest ") && dir.path().join("made").exists());
    }
}

#[tokio::test]
async fn nothing_needs_a_terminal_and_no_control_character_is_printed() {
    for lie in [Lie::None, Lie::Loses, Lie::Babbles] {
        let dir = tempfile::tempdir().unwrap();
        let output = load_in_a_pipeline(&Liar::start(lie).await.url, dir.path(), &[]).await;
        for (name, stream) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let control = stream.iter().find(|&&byte| byte < b' ' && byte != b'\n' || byte == 0x7f);
            assert_eq!(control, None, "{lie:?}, {name}: {:?}", String::from_utf8_lossy(stream));
        }
    }
}

#[tokio::test]
async fn a_terminal_that_obeys_nothing_gets_no_control_character() {
    let liar = Liar::start(Lie::None).await;
    let load = format!("{} --host {} --users 4 --run-time 3s", env!("CARGO_BIN_EXE_loadtest"), liar.url);
    for (kind, obeys) in [("dumb", false), ("xterm", true)] {
        let mut on_a_terminal = Command::new("script");
        on_a_terminal.args(["--quiet", "--return", "--command", &load, "/dev/null"]).stdin(Stdio::null());
        let output = on_a_terminal.kill_on_drop(true).env("TERM", kind).output().await.unwrap();
        let (code, printed) = result_of(&output);
        assert_eq!(code, Some(0), "{printed}");
        // The terminal itself ends lines by \r\n.
        let is_control = |c: char| c.is_control() && c != '\n';
        assert_eq!(printed.replace("\r\n", "\n").contains(is_control), obeys, "{kind}: {printed:?}");
    }
}

#[tokio::test]
async fn progress_is_as_wide_as_its_terminal_at_most() {
    let liar = Liar::start(Lie::None).await;
    let load = format!("{} --host {} --users 4 --run-time 4s", env!("CARGO_BIN_EXE_loadtest"), liar.url);
    for columns in [30, 200] {
        let mut on_a_terminal = Command::new("script");
        let load = format!("stty columns {columns} rows 20; {load}");
        on_a_terminal.args(["--quiet", "--return", "--command", &load, "/dev/null"]).stdin(Stdio::null());
        let output = on_a_terminal.kill_on_drop(true).env("TERM", "xterm").output().await.unwrap();
        let (code, printed) = result_of(&output);
        assert_eq!(code, Some(0), "{printed}");
        let in_place = printed.split("\r\x1b[K").filter_map(|text| text.lines().next());
        let lines: Vec<&str> = in_place.filter(|line| line.contains(" of 4 s")).collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() < columns), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line.ends_with(" open")), columns == 200, "{lines:?}");
    }
}
