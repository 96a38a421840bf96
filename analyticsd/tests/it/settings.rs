use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output, time::Duration};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::StatusCode;
use tokio::time::timeout;

/// Runs the daemon in a folder: its exit code, standard output and standard error.
async fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Daemon::command();
    command.current_dir(folder).args(arguments).envs(environment.iter().copied());
    let output: Output = timeout(Duration::from_mins(1), command.output()).await.expect("it ends by itself").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A file of settings that only its owner may read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn all_faults_of_all_sources_are_listed_at_once_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    write(
        &file,
        "listen = 127.0.0.1:80\n\
         lisen = \"127.0.0.1:80\"\n\
         max_connections = 0\n\
         database_url = \"postgres://ann:secret@h/db?secret=1\"\n\
         migrate = \"yes\"\n\
         settle_after = 1.5\n\
         worker-threads = 3\n\
         frobnicate = 'secret'\n\
         [spool]\n\
         size = 1\n",
    );
    let arguments = ["--config", "settings.toml", "--worker-threads", "9999", "--log", "a=b=c\n"];
    let environment = [
        ("ANALYTICSD_SPOOL_SIZE", "much"),
        ("ANALYTICSD_LISTEN", "8080"),
        ("ANALYTICSD_DATABASE_URL_FILE", "/not/there"),
    ];
    let (code, stdout, stderr) = run(folder.path(), &arguments, &environment).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!("faults", stderr);
    assert!(!stderr.contains("secret"));

    let shown = run(folder.path(), &["config"].into_iter().chain(arguments).collect::<Vec<_>>(), &environment).await;
    assert_eq!((shown.0, shown.2), (Some(2), stderr), "`config` prints the same faults");
    assert!(!shown.1.contains("secret"), "{}", shown.1);
}

#[tokio::test]
async fn config_shows_values_and_their_sources_with_passwords_masked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    write(&file, "database_url = 'postgres://ann:secret@h/db'\nmax_connections = 300\nsettle_after = '3m'\n");
    let arguments = ["--config", "settings.toml", "--worker-threads", "3", "config", "--settle-after", "1m"];
    let environment = [("ANALYTICSD_SETTLE_AFTER", "2m"), ("ANALYTICSD_MAX_CONNECTIONS", "200")];
    let (code, stdout, stderr) = run(folder.path(), &arguments, &environment).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("config", stdout);

    let json = run(folder.path(), &[&arguments[..], &["--format", "json"]].concat(), &environment).await.1;
    let shown: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let url = shown.iter().find(|setting| setting["setting"] == "database_url").unwrap();
    assert_eq!(url["value"], "postgres://ann:***@h/db");
    assert_eq!(url["source"], "settings.toml:1 database_url");
    let columns: Vec<Vec<&str>> = stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    for (setting, columns) in shown.iter().zip(columns) {
        assert_eq!(setting["setting"], columns[0]);
        assert_eq!(setting["value"].as_str().unwrap_or("none"), columns[1]);
    }

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(folder.path(), &arguments, &environment).await;
    assert_eq!(code, Some(0));
    assert!(
        stderr.starts_with(
            "warning: settings.toml contains a password, and every user of this machine can read it (mode 644)"
        ),
        "{stderr}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(run(folder.path(), &arguments, &environment).await.2, "", "a group of the daemon may read the file");
}

#[tokio::test]
async fn a_url_in_a_file_of_its_own_is_shown_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    write(&file, "postgres://ann:secret@h/db\n");
    let (code, stdout, _) = run(folder.path(), &["config", "--database-url-file", "url"], &[]).await;
    assert_eq!(code, Some(0));
    let row = stdout.lines().find(|line| line.starts_with("database_url ")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>().join(" "),
        "database_url postgres://ann:***@h/db the file of --database-url-file"
    );
}

#[tokio::test]
async fn it_serves_with_a_file_of_settings_and_the_database_url_in_another_file() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, url, log) = (folder.path().join("settings"), folder.path().join("url"), folder.path().join("log"));
    write(&url, &format!("{}\n", database.url()));
    write(&file, &format!("database_url_file = {:?}\nlog_format = \"json\"\n", url.to_str().unwrap()));
    let mut command = Daemon::command();
    command.env("ANALYTICSD_CONFIG", &file).env("ANALYTICSD_LISTN", "[::]:80").stderr(fs::File::create(&log).unwrap());
    let daemon = Daemon::start_command_with_log(command).await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    assert!(daemon.terminate().await.success());

    let log = fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warning = "ANALYTICSD_LISTN is set, but there is no such setting; ANALYTICSD_LISTEN is near";
    assert!(lines.iter().any(|line| line["level"] == "WARN" && line["message"] == warning), "{log}");
}

#[tokio::test]
async fn the_help_names_every_setting_with_its_variable_and_its_default() {
    let (code, stdout, _) = run(Path::new("."), &["--help"], &[("COLUMNS", "100")]).await;
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help", stdout);
}
