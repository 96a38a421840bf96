use std::process::Stdio;

use analytics_cli::Cli;
use clap::CommandFactory;

use crate::{
    command,
    server::{Answer, TestServer},
};

/// The long help of a command, at a width of its own rather than the terminal's.
fn help(path: &[&str]) -> String {
    let mut command = Cli::command().term_width(110);
    command.build();
    let command = path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
    command.render_long_help().to_string()
}

#[test]
fn the_help_documents_commands_and_exit_codes() {
    insta::assert_snapshot!("help", help(&[]));
}

#[test]
fn a_password_is_not_repeated_wherever_a_url_was_given_by_mistake() {
    const URL: &str = "postgres://ann:hunter2@db.example/analytics";
    for arguments in [&[URL][..], &["send", URL], &["query", "--last", URL], &["retention", "set", "--keep", URL]] {
        let output = command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains("hunter2") && said.contains("db.example"), "{arguments:?}: {said}");
    }
}

#[test]
fn the_help_of_every_command_documents_its_flags() {
    for path in [
        &["send"][..],
        &["query"],
        &["top"],
        &["tail"],
        &["config"],
        &["doctor"],
        &["completions"],
        &["man"],
        &["migrate"],
        &["migrate", "up"],
        &["retention", "set"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["verify"],
        &["backfill"],
        &["forget"],
        &["import"],
    ] {
        insta::assert_snapshot!(format!("help_{}", path.join("_")), help(path));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = TestServer::with(|request| Answer::of_periods(request, |_| 1));
    let mut child = command(&["query"])
        .env("ANALYTICS_SERVER", server.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn what_contradicts_itself_exits_2() {
    for arguments in [
        &["query", "--from", "now", "--to", "-1h"][..],
        &["query", "--from", "0", "--to", "now", "--step", "hour"],
        &["query", "--at", "tomorrow"],
        &["send", "--user", "", "--event", "click"],
        &["send", "--user", "ann", "--event", "click", "--at", "-9000years"],
        &["import", "--format", "ndjson", "/nowhere/to/be/found"],
        &["import", "--format", "ndjson", "/"],
        &["import", "--format", "ndjson", "-", "--rejects", "/nowhere/to/be/found"],
        &["import", "--format", "combined", "--site", "http://example.com", "-"],
        &["migrate", "status"],
        &["migrate", "status", "--database-url", "nonsense"],
        &["migrate", "up", "--flavour", "mysql", "--database-url", "postgres://127.0.0.1/x"],
        &["retention", "set", "--keep", "1h", "--database-url", "postgres://127.0.0.1/x"],
        &["verify", "--from", "now", "--to", "-1h", "--database-url", "postgres://127.0.0.1/x"],
        &["verify"],
        &["backfill"],
        &["forget"],
        &["unknown"],
        &[],
    ] {
        let output = command(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_ne!(output.stderr, b"", "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn a_database_that_cannot_be_reached_exits_2_and_keeps_the_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://ann:secret@127.0.0.1:{port}/x");
    for arguments in
        [&["migrate", "up"][..], &["migrate", "status"], &["migrate", "verify"], &["retention", "show"], &["verify"]]
    {
        let output = command(arguments).env("DATABASE_URL", &url).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("--database-url (or DATABASE_URL) is right"), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_error_about_an_invalid_server_hides_its_password() {
    for url in [
        "ftp://ann:secret@counter",
        "http://ann:secret@counter/?a=b",
        "ann:secret@counter/?a=b",
        "http://ann:#secret@counter",
    ] {
        for output in
            [command(&["query"]).env("ANALYTICS_SERVER", url).output(), command(&["query", "--server", url]).output()]
        {
            let output = output.unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains("ann:***@counter") && stderr.contains("--server <URL>"), "{stderr}");
            assert!(!stderr.contains("secret"), "{stderr}");
        }
    }
}

#[test]
fn every_shell_gets_its_completions_and_every_command_its_manual_page() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = command(&["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["analytics-cli", "doctor", "config", "profile", "color"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let output = command(&["man", dir.path().to_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
    for command in Cli::command().get_subcommands() {
        let page = dir.path().join(format!("analytics-cli-{}.1", command.get_name()));
        assert!(std::fs::read_to_string(&page).unwrap().contains(".SH DESCRIPTION"), "{}", page.display());
    }
    let output = command(&["man", "/dev/null/pages"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// What was wrong, what is accepted or what to do next, for failures that are made at the command line alone.
#[test]
fn every_error_names_the_flag_or_the_next_command() {
    for (arguments, expected) in [
        (&["query", "--last", "a day"][..], &["--last", "accepted is", "24h"][..]),
        (&["top", "--last", "5"], &["--last", "accepted is", "or all"]),
        (&["query", "--at", "tomorrow"], &["--at", "accepted is RFC 3339"]),
        (&["query", "--from", "0", "--to", "now", "--step", "hour"], &["--from and --to"]),
        (&["query", "--from", "0", "--to", "1h", "--compare"], &["--to", "accepted is"]),
        (&["query", "--from", "0", "--to", "3600000", "--compare"], &["analytics-cli config"]),
        (&["query", "--server", "ftp://counter:8080"], &["--server", "accepted is http://HOST:PORT"]),
        (&["query", "--step", "year"], &["--step", "hour, day, week, month"]),
        (&["query", "--time-zone", "Berlin"], &["--time-zone", "like Europe/Berlin"]),
        (&["query", "--time-zone", "Asia/Kolkata"], &["--time-zone", "+05:30", "whole hours"]),
        (&["send", "--user", "", "--event", "click"], &["--user", "accepted is"]),
        (&["send", "--user", "ann", "--event", "Click"], &["--event", "accepted is"]),
        (&["send", "--user", "ann", "--event", "click", "--id", ""], &["--id", "accepted is"]),
        (&["send", "--user", "ann", "--event", "click", "--at", "-9000years"], &["--at", "accepted is"]),
        (&["import", "--format", "combined", "--site", "http://h", "-"], &["--site", "accepted is"]),
        (&["import", "--format", "csv", "--batch-size", "0", "-"], &["--batch-size", "1..=10000"]),
        (&["retention", "set", "--keep", "1h"], &["--keep", "accepted is"]),
        (&["retention", "set", "--columnstore-after", "soon"], &["--columnstore-after", "accepted is"]),
        (&["migrate", "status"], &["--database-url", "DATABASE_URL", "profile"]),
        (&["verify", "--database-url", "nonsense"], &["--database-url", "expected is postgres://"]),
        (&["verify", "--from", "now", "--to", "-1h", "--database-url", "postgres://h/x"], &["--from", "--to", "swap"]),
        (&["doctor", "--timeout", "0s"], &["--timeout", "accepted is"]),
        (&["config", "--profile", "x"], &["--profile", "--config"]),
        (&["query", "--color", "red"], &["--color", "auto, always, never"]),
        (&["man", "/dev/null/pages"], &["give a writable folder"]),
    ] {
        let output = command(arguments).env("ANALYTICS_SERVER", "http://127.0.0.1:9").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        for part in expected {
            assert!(stderr.contains(part), "{arguments:?} lacks {part:?}: {stderr}");
        }
    }
}

#[test]
fn a_server_that_fails_leads_to_the_doctor() {
    for answer in [Answer::Problem(503, "The database is away.", None), Answer::Nothing] {
        let server = TestServer::answering(&[answer]);
        let output = command(&["query"]).env("ANALYTICS_SERVER", server.url()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("analytics-cli doctor"), "{stderr}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error_with_advice() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["config"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("redirect it to where there is room"));
}

#[test]
fn a_closed_standard_error_does_not_change_the_exit_code() {
    for arguments in [
        // The first is expected with the password masked, the others as they are.
        &["migrate", "--database-url", "postgres://analytics:secret@db/analytics", "postgres://analytics:secret@db/x"]
            [..],
        &["no-such-command"],
        &["query", "--at", "nonsense"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command(arguments).stdin(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
