use db::{
    Flavour,
    embedded::{Embedded, running_url},
};
use harness::{embedded_options, on_both_flavours, server_dir};

use crate::{Run, command};

on_both_flavours!(the_database_of_a_trial_is_found_while_it_runs);

async fn run(arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:9/nothing");
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn the_database_of_a_trial_is_found_while_it_runs(flavour: Flavour) {
    let folder = server_dir();
    let flag = &format!("--embedded={}", folder.path().display());
    let told = format!("no trial database runs in {}", folder.path().display());
    for command in [&["config"][..], &["doctor"], &["migrate", "up"]] {
        let before = run(&[command, &[flag]].concat()).await;
        assert!(before.code == 2 && before.stderr.contains(&told), "{command:?}: {}", before.stderr);
    }

    let trial = Embedded::start(&embedded_options(folder.path(), flavour)).await.unwrap();
    assert_eq!(running_url(folder.path()).unwrap(), trial.url());
    let shown = run(&["config", flag]).await;
    let url = shown.stdout.lines().find(|line| line.starts_with("database_url")).unwrap();
    assert!(url.contains(trial.url()) && url.ends_with("--embedded"), "{}", shown.stdout);
    let made = run(&["migrate", "up", flag]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let doctor = run(&["doctor", flag, "--server", "127.0.0.1:9"]).await;
    assert!(
        doctor.stdout.lines().any(|line| line.starts_with("ok") && line.contains("database ")),
        "{}",
        doctor.stdout
    );

    let both = run(&["config", flag, "--database-url", trial.url()]).await;
    assert!(both.code == 2 && both.stderr.contains("--embedded and --database-url: contradict"), "{}", both.stderr);
    trial.stop().await.unwrap();
    let after = run(&["doctor", flag]).await;
    assert!(after.code == 2 && after.stderr.contains(&told), "{}", after.stderr);
}
