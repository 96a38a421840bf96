use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    Run, command,
    server::{Answer, TestServer},
};

/// A folder for `XDG_CONFIG_HOME` with a configuration file in it.
pub(crate) struct ConfigHome {
    folder: TempDir,
}

impl ConfigHome {
    pub(crate) fn with(text: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(home.folder.path().join("analytics")).unwrap();
        fs::write(home.file(), text).unwrap();
        home.set_mode(0o600);
        home
    }

    pub(crate) fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("analytics/config.toml")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("XDG_CONFIG_HOME", self.folder.path());
        command
    }

    /// Runs a command and puts FILE where its output names the file.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        let Run { code, stdout, stderr } = command.output().unwrap().into();
        let hide = |text: String| text.replace(self.file().to_str().unwrap(), "FILE");
        Run { code, stdout: hide(stdout), stderr: hide(stderr) }
    }
}

fn counting(clicks: u64) -> TestServer {
    TestServer::with(move |request| Answer::of_periods(request, |_| clicks))
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_profile() {
    let [flag, variable, profile, other] = [1, 2, 3, 4].map(counting);
    let (profile_url, other_url) = (profile.url(), other.url());
    let home = ConfigHome::with(&format!(
        "profile = \"one\"\n[profiles.one]\nserver = \"{profile_url}\"\n[profiles.two]\nserver = \"{other_url}\"\n"
    ));
    let (flag_url, variable_url) = (flag.url(), variable.url());
    for (arguments, environment, clicks) in [
        (vec!["--server", &flag_url], vec![("ANALYTICS_SERVER", variable_url.as_str())], "1"),
        (vec![], vec![("ANALYTICS_SERVER", variable_url.as_str())], "2"),
        (vec!["--profile", "two"], vec![("ANALYTICS_SERVER", variable_url.as_str())], "2"),
        (vec![], vec![], "3"),
        (vec!["--profile", "two"], vec![("ANALYTICS_PROFILE", "one")], "4"),
        (vec![], vec![("ANALYTICS_PROFILE", "two")], "4"),
    ] {
        let arguments: Vec<&str> = ["query", "--format", "csv"].into_iter().chain(arguments).collect();
        let run = home.run(&arguments, &environment);
        assert_eq!(run.code, 0, "{arguments:?} {environment:?}: {}", run.stderr);
        assert!(run.stdout.ends_with(&format!(",{clicks},0\n")), "{arguments:?} {environment:?}: {}", run.stdout);
    }
}

#[test]
fn a_token_goes_with_every_request_and_that_of_a_profile_only_to_its_own_server() {
    let [own, other] = [1, 2].map(counting);
    let (own_url, other_url) = (own.url(), other.url());
    let home = ConfigHome::with(&format!(
        "profile = \"one\"\n[profiles.one]\nserver = \"{own_url}\"\ntoken = \"an_profile\"\n"
    ));
    for (arguments, environment, server, expected) in [
        (vec![], vec![], &own, Some("an_profile")),
        (vec![], vec![("ANALYTICS_TOKEN", "an_variable")], &own, Some("an_variable")),
        (vec![], vec![("ANALYTICS_TOKEN", "")], &own, Some("an_profile")),
        (vec!["--token", "an_flag"], vec![("ANALYTICS_TOKEN", "an_variable")], &own, Some("an_flag")),
        (vec!["--server", &other_url], vec![], &other, None),
        (vec![], vec![("ANALYTICS_SERVER", other_url.as_str())], &other, None),
        (vec!["--server", &other_url, "--token", "an_flag"], vec![], &other, Some("an_flag")),
    ] {
        let arguments: Vec<&str> = ["query", "--format", "csv"].into_iter().chain(arguments).collect();
        let run = home.run(&arguments, &environment);
        assert_eq!(run.code, 0, "{arguments:?} {environment:?}: {}", run.stderr);
        let headers = server.requests().pop().unwrap().headers;
        let sent = headers.lines().find_map(|line| line.strip_prefix("authorization: bearer "));
        assert_eq!(sent, expected, "{arguments:?} {environment:?}");
    }
}

#[test]
fn a_missing_token_is_an_error_with_advice_and_no_token_is_shown() {
    let server = TestServer::answering(&[Answer::Problem(401, "This server asks for a token.", None)]);
    let home = ConfigHome::with("");
    let run = home.run(&["query", "--server", &server.url(), "--token", "an_secret"], &[]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("This server asks for a token. Give it with --token"), "{}", run.stderr);
    assert!(!run.stderr.contains("an_secret"), "{}", run.stderr);
    let run = home.run(&["query", "--token", "an odd secret"], &[]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("accepted is 1 to 512 visible ASCII") && !run.stderr.contains("odd secret"),
        "{}",
        run.stderr
    );
}

#[test]
fn another_file_may_be_named_and_must_then_be_there() {
    let server = counting(7);
    let home = ConfigHome::with("profile = \"nonsense\"");
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let text = format!("profile = \"a\"\n[profiles.a]\nserver = \"{}\"\n", server.url());
    fs::write(elsewhere.path(), text).unwrap();
    let path = elsewhere.path().to_str().unwrap();
    assert_eq!(home.run(&["query", "--config", path], &[]).code, 0);
    assert_eq!(home.run(&["query"], &[("ANALYTICS_CONFIG", path)]).code, 0);
    let missing = home.run(&["query", "--config", "/nowhere/to/be/found.toml"], &[]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("/nowhere/to/be/found.toml") && missing.stderr.contains("--config"));
}

#[test]
fn a_wrong_file_or_profile_is_an_error_and_nothing_is_done() {
    let file = "profile = \"b\"\n[profiles.a]\n[profiles.c]\n";
    for (text, arguments, expected) in [
        (
            "[profiles.a]\nsever = \"http://h\"\n",
            &[][..],
            "error: FILE:2: unknown field `sever`, expected one of `server`, `token`, `database_url`, `shards`; accepted is profile = \"NAME\" and, in each table \
             [profiles.NAME], server = \"URL\", token = \"TOKEN\", and database_url = \"URL\" or shards = [\"URL\", …]\n",
        ),
        (file, &[], "error: FILE has no profile b, which FILE names; it has a, c\n"),
        (file, &["--profile", "x"], "error: FILE has no profile x, which --profile names; it has a, c\n"),
    ] {
        let run = ConfigHome::with(text).run(&[&["query"], arguments].concat(), &[]);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (2, "", expected));
    }
    let run: Run = command(&["query", "--profile", "x"]).output().unwrap().into();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("there is no configuration file at /nowhere/to/be/found/analytics"), "{}", run.stderr);
}

#[test]
fn an_address_of_a_profile_that_is_not_right_is_looked_for_in_the_file() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = ConfigHome::with(&format!(
        "profile = \"a\"\n[profiles.a]\nserver = \"http://127.0.0.1:{port}\"\ndatabase_url = \"postgres://ann:secret@127.0.0.1:{port}/x\"\n"
    ));
    let server = home.run(&["query"], &[]);
    assert_eq!(server.code, 2);
    assert!(server.stderr.contains("`analytics-cli config` shows where it comes from"), "{}", server.stderr);
    let database = home.run(&["verify"], &[]);
    assert_eq!(database.code, 2);
    assert!(database.stderr.contains("database_url of profile a in FILE is right"), "{}", database.stderr);
    assert!(!database.stderr.contains("secret"), "{}", database.stderr);
}

#[test]
fn what_needs_no_server_needs_no_valid_file() {
    let run = ConfigHome::with("nonsense").run(&["completions", "bash"], &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}
