//! scripts/load-gate, which is all that action.yml runs, as far as it goes without an engine for containers.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    liar::{Liar, Lie},
    result_of,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A pipeline's machine: a folder to work in, and programs that take the place of others.
struct Machine(TempDir);

/// A program that is a script.
fn add_program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn gate(&self) -> Command {
        let mut command = Command::new(repository().join("scripts/load-gate"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.current_dir(self.0.path()).stdin(Stdio::null()).kill_on_drop(true).env("PATH", path);
        command.env_remove("ANALYTICS_TOKEN").env_remove("GITHUB_ACTIONS").env_remove("LOADTEST").env_remove("DOCKER");
        command.env("GITHUB_STEP_SUMMARY", self.path("step")).env("LOADTEST_ROOT", self.path("root"));
        command.env("INPUT_RUN_TIME", "1s").env("INPUT_USERS", "4");
        command
    }

    async fn run(&self, command: &mut Command) -> (Option<i32>, String) {
        result_of(&command.output().await.unwrap())
    }
}

#[tokio::test]
async fn a_host_is_loaded_and_the_verdict_is_the_exit_code() {
    for (lie, expected) in [(Lie::None, 0), (Lie::Loses, 1)] {
        let machine = Machine::new();
        let (mut gate, liar) = (machine.gate(), Liar::start(lie).await);
        gate.env("INPUT_HOST", &liar.url).env("LOADTEST", env!("CARGO_BIN_EXE_loadtest"));
        gate.env("INPUT_MAX_ERROR_RATE", "0").env("INPUT_ARGUMENTS", "--seed 7\n --batch-share 0");
        let (code, printed) = machine.run(&mut gate).await;
        assert_eq!(code, Some(expected), "{printed}");
        assert!(printed.contains("seed 7") && printed.contains("gate: error rate"), "{printed}");
        for name in ["report.json", "junit.xml", "summary.md", "latency.svg"] {
            assert!(machine.path("loadtest-report").join(name).exists(), "{name}");
        }
        assert!(machine.read("step").starts_with("## loadtest "));
    }
}

#[tokio::test]
async fn what_compose_starts_is_waited_for_loaded_and_ended() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let machine = Machine::new();
    let asked = machine.path("asked");
    add_program(&machine.path("bin/engine"), &format!("echo \"$*\" >>{}", asked.display()));
    let mut gate = machine.gate();
    gate.env("DOCKER", "engine").env("INPUT_COMPOSE_FILE", "mine.yml").env("INPUT_HOST", daemon.url());
    let (code, printed) = machine.run(gate.env("LOADTEST", env!("CARGO_BIN_EXE_loadtest"))).await;
    assert_eq!(code, Some(0), "{printed}");
    let asked = machine.read("asked");
    let project = asked.split(' ').nth(2).unwrap();
    assert!(project.starts_with("load-gate-"), "a project of its own is ended, and none of the user's: {asked}");
    let compose = |arguments: &str| format!("compose --project-name {project} --file mine.yml {arguments}\n");
    let expected = ["up --detach --build", "logs --no-color", "down --volumes"].map(compose).concat();
    assert_eq!(asked, expected);
    assert!(machine.path("loadtest-report/compose.log").exists());
}

#[tokio::test]
async fn what_compose_cannot_start_is_ended_and_nothing_is_loaded() {
    let machine = Machine::new();
    let engine = "echo \"$6\" >>asked; echo 'the log of the daemon'; [ \"$6\" != up ]";
    add_program(&machine.path("bin/docker"), engine);
    let (code, printed) = machine.run(machine.gate().env("LOADTEST", "/bin/false")).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("docker-compose.yml does not start"), "{printed}");
    assert_eq!(machine.read("asked"), "up\nlogs\ndown\n");
    assert_eq!(machine.read("loadtest-report/compose.log"), "the log of the daemon\n");
}

#[tokio::test]
async fn the_program_of_a_release_is_taken_if_its_sum_is_right_and_kept() {
    let machine = Machine::new();
    let release = machine.path("releases/v9.8.7");
    let name = "analytics-9.8.7-x86_64-linux-gnu";
    add_program(&release.join(name).join("bin/loadtest"), "echo \"released: $*\"; echo >\"$6\"");
    add_program(&machine.path("bin/cargo"), "echo cargo was asked >&2; exit 1");
    let pack = format!("tar czf {name}.tar.gz {name} && sha256sum {name}.tar.gz >SHA256SUMS");
    assert!(Command::new("sh").args(["-ec", &pack]).current_dir(&release).status().await.unwrap().success());
    let gate = || {
        let mut gate = machine.gate();
        let releases = format!("file://{}", machine.path("releases").display());
        gate.env("INPUT_HOST", "http://127.0.0.1:1").env("INPUT_RELEASES", releases).env("INPUT_RELEASE", "v9.8.7");
        gate
    };
    // Where no host answers it would wait for one.
    add_program(&machine.path("bin/sleep"), "");
    let is_supported = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    if is_supported {
        for _ in 0..2 {
            let (code, printed) = machine.run(&mut gate()).await;
            assert_eq!(code, Some(0), "{printed}");
            assert!(printed.contains("waiting for http://127.0.0.1:1, try 1 of 120"), "{printed}");
            assert!(printed.contains("released: --host http://127.0.0.1:1 --report-dir loadtest-report"), "{printed}");
            assert!(!printed.contains("cargo was asked"), "{printed}");
            let _ = fs::remove_dir_all(&release);
        }
    }
    fs::remove_dir_all(machine.path("root")).unwrap();
    let (code, printed) = machine.run(&mut gate()).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("cargo was asked"), "{printed}");
}

#[tokio::test]
async fn a_released_program_with_another_sum_is_not_run() {
    let machine = Machine::new();
    let release = machine.path("releases/v9.8.7");
    let name = "analytics-9.8.7-x86_64-linux-gnu.tar.gz";
    fs::create_dir_all(&release).unwrap();
    fs::write(release.join(name), "another").unwrap();
    fs::write(release.join("SHA256SUMS"), format!("{}  {name}\n", "0".repeat(64))).unwrap();
    add_program(&machine.path("bin/cargo"), "echo cargo was asked >&2; exit 1");
    let releases = format!("file://{}", machine.path("releases").display());
    let mut gate = machine.gate();
    gate.env("INPUT_RELEASES", releases).env("INPUT_RELEASE", "v9.8.7").env("INPUT_HOST", "http://127.0.0.1:1");
    let temporary = machine.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let (code, printed) = machine.run(gate.env("TMPDIR", &temporary)).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("cargo was asked"), "{printed}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_release_that_cannot_be_unpacked_is_not_run() {
    let machine = Machine::new();
    let release = machine.path("releases/v9.8.7");
    fs::create_dir_all(&release).unwrap();
    let name = "analytics-9.8.7-x86_64-linux-gnu.tar.gz";
    let pack = format!("echo 'no archive' >{name} && sha256sum {name} >SHA256SUMS");
    assert!(Command::new("sh").args(["-ec", &pack]).current_dir(&release).status().await.unwrap().success());
    add_program(&machine.path("bin/cargo"), "echo cargo was asked >&2; exit 1");
    let releases = format!("file://{}", machine.path("releases").display());
    let mut gate = machine.gate();
    gate.env("INPUT_RELEASES", releases).env("INPUT_RELEASE", "v9.8.7").env("INPUT_HOST", "http://127.0.0.1:1");
    let (code, printed) = machine.run(&mut gate).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("cargo was asked") && !machine.path("root/sum").exists(), "{printed}");
}

/// In a folder with the files of an earlier run.
async fn ends_without_a_verdict(machine: &Machine, gate: &mut Command, reason: &str) -> String {
    let reports = machine.path("loadtest-report");
    fs::create_dir(&reports).unwrap();
    for name in ["report.json", "junit.xml", "summary.md", "latency.svg", "notes.txt"] {
        fs::write(reports.join(name), "of an earlier run").unwrap();
    }
    let (code, printed) = machine.run(gate.env("GITHUB_ACTIONS", "true")).await;
    assert_eq!(code, Some(2), "{printed}");
    let errors: Vec<&str> = printed.lines().filter(|line| line.starts_with("::error ")).collect();
    assert!(matches!(errors[..], [error] if error.contains(reason)), "{printed}");
    assert_eq!(machine.read("step").lines().count(), 1);
    assert!(machine.read("step").contains(reason), "{}", machine.read("step"));
    let left: Vec<_> = fs::read_dir(&reports).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
    printed
}

#[tokio::test]
async fn an_end_without_a_verdict_is_an_error_of_the_pipeline_and_leaves_nothing_of_earlier_runs() {
    let machine = Machine::new();
    let (mut gate, liar) = (machine.gate(), Liar::start(Lie::None).await);
    add_program(&machine.path("bin/killed"), "echo 'its last words' >&2; kill -KILL $$");
    gate.env("LOADTEST", machine.path("bin/killed")).env("INPUT_HOST", &liar.url);
    let printed = ends_without_a_verdict(&machine, &mut gate, "loadtest ended without a verdict").await;
    assert!(printed.contains("its last words"), "{printed}");
}

#[tokio::test]
async fn a_machine_without_cargo_is_told_what_to_install() {
    let machine = Machine::new();
    let tools = ["sh", "dirname", "find", "sha256sum", "sort", "cut", "cat", "mkdir", "rm", "uname"];
    for tool in tools {
        let path = std::env::var_os("PATH").unwrap();
        let tool_path = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.exists());
        std::os::unix::fs::symlink(tool_path.unwrap(), machine.path("bin").join(tool)).unwrap();
    }
    let mut gate = machine.gate();
    gate.env("PATH", machine.path("bin")).env("INPUT_HOST", "http://127.0.0.1:1");
    ends_without_a_verdict(&machine, &mut gate, "install Rust").await;
}

#[tokio::test]
async fn a_baseline_where_the_run_writes_is_refused_and_stays() {
    let machine = Machine::new();
    fs::create_dir(machine.path("loadtest-report")).unwrap();
    fs::write(machine.path("loadtest-report/report.json"), "{}").unwrap();
    let mut gate = machine.gate();
    gate.env("LOADTEST", "/bin/false").env("INPUT_BASELINE", "loadtest-report/report.json");
    let (code, printed) = machine.run(&mut gate).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("error: baseline is within loadtest-report"), "{printed}");
    assert_eq!(machine.read("loadtest-report/report.json"), "{}");
}

#[tokio::test]
async fn the_sum_of_the_sources_stays_the_same() {
    let machine = Machine::new();
    let (_, first) = machine.run(machine.gate().arg("--sum")).await;
    let (_, second) = machine.run(machine.gate().arg("--sum")).await;
    assert!(first.starts_with("sum=") && first.len() == "sum=".len() + 64 + 1, "{first}");
    assert_eq!(first, second);
}

#[test]
fn each_input_of_the_action_is_handed_to_the_script() {
    let read = |name| fs::read_to_string(repository().join(name)).unwrap();
    let (action, script) = (read("action.yml"), read("scripts/load-gate"));
    let inputs = action.split("\ninputs:\n").nth(1).unwrap().split("\noutputs:\n").next().unwrap();
    let names: Vec<&str> = inputs
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|n| !n.starts_with(' '))
        .collect();
    assert!(names.contains(&"host") && names.len() > 10, "{names:?}");
    // Only the step that keeps the files needs it.
    for name in names.into_iter().filter(|name| *name != "artifact") {
        let variable = format!("INPUT_{}", name.replace('-', "_").to_uppercase());
        assert!(action.contains(&format!("{variable}: ${{{{ inputs.{name} }}}}\n")), "{name}");
        assert!(script.contains(&format!("${{{variable}:-")), "{variable}");
    }
}
