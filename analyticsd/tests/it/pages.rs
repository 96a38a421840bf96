//! Runs the blocks of the documents as a reader pastes them: those of each page in one shell, in their order, on a
//! trial of its own, started like `make run`.
//!
//! A block of `sh` or `sql` runs unless the paragraph before it begins with "Needs" and names what the trial lacks. A
//! line `#> …` in a block is what the block prints; `…` in it stands for any text.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use harness::{Daemon, program, server_dir};
use tokio::{process::Command, time::timeout};

const PATIENCE: Duration = Duration::from_mins(3);
/// Begins the line that the shell prints before each block.
const MARK: char = '\u{1}';
/// Where the documents reach the daemon.
const ADDRESS: &str = "http://127.0.0.1:8080";

macro_rules! pages {
    ($($name:ident: $page:literal,)+) => {
        const PAGES: &[&str] = &[$($page),+];
        $(#[tokio::test] async fn $name() { run($page).await; })+
    };
}

pages! {
    readme: "README.md",
    clients: "docs/clients.md",
    http_api: "docs/http-api.md",
    command_line: "docs/command-line.md",
    load_testing: "docs/load-testing.md",
    logs: "docs/logs.md",
    sites: "docs/sites.md",
    sources: "docs/sources.md",
    sql: "docs/sql.md",
    access: "docs/operate/access.md",
    backup: "docs/operate/backup.md",
    configuration: "docs/operate/configuration.md",
    install: "docs/operate/install.md",
    monitoring: "docs/operate/monitoring.md",
    proxy: "docs/operate/proxy.md",
    runbooks: "docs/operate/runbooks.md",
    scaling: "docs/operate/scaling.md",
    upgrades: "docs/operate/upgrades.md",
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A fenced block: the line where it begins, its language, its text, and what the paragraph before it says that it
/// needs.
struct Block {
    line: usize,
    language: String,
    text: String,
    needs: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut paragraph) = (Vec::<Block>::new(), String::new());
    let mut is_inside = false;
    for (number, line) in page.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_inside = !is_inside;
            if is_inside {
                let needs = paragraph.starts_with("Needs ").then(|| paragraph.trim_end().to_owned());
                blocks.push(Block { line: number + 1, language: language.to_owned(), text: String::new(), needs });
                paragraph.clear();
            }
        } else if is_inside {
            let block = blocks.last_mut().unwrap();
            block.text.extend([line, "\n"]);
        } else if line.is_empty() {
            // The paragraph ends with the next one's first line, so that the empty line before a block does not count.
            paragraph.push('\n');
        } else {
            if paragraph.ends_with('\n') {
                paragraph.clear();
            }
            paragraph.extend([if paragraph.is_empty() { "" } else { " " }, line]);
        }
    }
    assert!(!is_inside, "the last block has no end");
    blocks
}

impl Block {
    fn is_runnable(&self) -> bool {
        ["sh", "sql"].contains(&self.language.as_str())
    }

    /// The block as input of the shell.
    fn script(&self, daemon: &Daemon) -> String {
        let text = self.text.replace(ADDRESS, daemon.url());
        if self.language == "sql" {
            format!("psql --no-psqlrc --set=ON_ERROR_STOP=1 \"$DATABASE_URL\" <<'END'\n{text}END\n")
        } else {
            text
        }
    }

    /// The first expected line that is missing.
    fn missing<'a>(&'a self, printed: &str) -> Option<&'a str> {
        let mut lines = printed.lines();
        let mut expected = self.text.lines().filter_map(|line| line.strip_prefix("#> "));
        expected.find(|expected| !lines.any(|line| is_like(line, expected)))
    }
}

fn is_like(mut line: &str, expected: &str) -> bool {
    expected.split('…').all(|part| match line.find(part) {
        Some(at) => {
            line = &line[at + part.len()..];
            true
        }
        None => false,
    })
}

async fn run(page: &str) {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let (to_run, skipped): (Vec<_>, Vec<_>) =
        blocks(&text).into_iter().filter(Block::is_runnable).partition(|block| block.needs.is_none());
    for Block { line, needs, .. } in &skipped {
        eprintln!("SKIPPED: the block at {page}:{line}: {}", needs.as_deref().unwrap_or_default());
    }
    assert!(!to_run.is_empty(), "{page} has a block that runs");

    let folder = server_dir();
    for name in ["docs", "packaging", "scripts"] {
        symlink(repository().join(name), folder.path().join(name)).unwrap();
    }
    let mut trial = Daemon::command();
    trial.current_dir(folder.path()).args(["--embedded", "--embedded-kind", "native"]);
    let daemon = Daemon::start_command(trial).await;

    let mark = |block: &Block| format!("printf '\\n{MARK}%s\\n' {}\n{}", block.line, block.script(&daemon));
    let script = "set -e -o pipefail\n".to_owned() + &to_run.iter().map(mark).collect::<String>();
    // Otherwise curl succeeds whatever the daemon answers.
    fs::write(folder.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n").unwrap();
    let programs = program("analyticsd").parent().unwrap().to_owned();
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())));
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(script).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    shell.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
    shell.env_remove("DATABASE_URL").env_remove("XDG_CONFIG_HOME").env("ANALYTICS_SERVER", daemon.url());
    shell.env("HOME", folder.path()).env("CURL_HOME", folder.path()).env("PATH", path.unwrap());
    let output = timeout(PATIENCE, shell.output()).await.expect("the blocks end").unwrap();
    // A database that is still stopping would write into the folder while the test removes it.
    assert!(daemon.terminate().await.success());
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));

    let parts: Vec<&str> = printed.split(MARK).skip(1).collect();
    for (block, printed) in to_run.iter().zip(&parts) {
        let missing = block.missing(printed);
        assert_eq!(
            missing, None,
            "the block at {page}:{} did not print this line, but:\n{printed}\n{errors}",
            block.line
        );
    }
    let last = parts.len().checked_sub(1).map_or(0, |last| to_run[last].line);
    assert!(output.status.success(), "the block at {page}:{last} failed:\n{printed}\n{errors}");
    assert_eq!(parts.len(), to_run.len());
}

#[test]
fn no_page_has_blocks_that_do_not_run() {
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Readers do not paste from decisions and measurements.
                folders.extend((!path.ends_with("decisions")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = path.strip_prefix(repository()).unwrap().to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                let runs = blocks(&text).iter().any(|block| block.is_runnable() && block.needs.is_none());
                assert_eq!(runs, PAGES.contains(&page), "{page}");
            }
        }
    }
}

#[test]
fn a_block_is_skipped_only_for_a_need_that_the_paragraph_before_it_names() {
    let page = "Needs root:\n\n```sh\none\n```\n\nAs it is.\n\n```sh\ntwo\n#> a…c\n```\nNeeds nothing\nat all\n```text\nthree\n```\n";
    let blocks = blocks(page);
    let needs: Vec<_> = blocks.iter().map(|block| (block.is_runnable(), block.needs.as_deref())).collect();
    assert_eq!(needs, [(true, Some("Needs root:")), (true, None), (false, Some("Needs nothing at all"))]);
    assert_eq!(blocks[1].missing("x\nabcd\n"), None);
    assert_eq!(blocks[1].missing("ca\n"), Some("a…c"));
}
