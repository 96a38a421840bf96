//! A daemon and the command line with the login of an ordinary owner, as managed services give it out: no superuser, and no right to make roles.

use std::env;

use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};

use crate::{Run, command};

on_both_flavours!(everything_works_with_the_login_that_owns_the_database);

async fn everything_works_with_the_login_that_owns_the_database(flavour: Flavour) {
    if flavour == Flavour::Timescale && env::var_os("TEST_TIMESCALE_URL").is_none() {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no server that tells logins apart");
        return;
    }
    let database = TestDatabase::without_schema(flavour).await;
    let url = database.url_of_member(&[]).await;
    let login = url.split(['/', '@']).nth(2).unwrap();
    let superuser = database.client().await;
    let name: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    superuser.batch_execute(&format!("alter database {name} owner to {login}")).await.unwrap();
    if flavour == Flavour::Timescale {
        superuser.batch_execute("create extension timescaledb").await.unwrap();
    }
    let settled = async |hours: i64| {
        let statement = "select count(*) from analytics.settled_hours";
        while superuser.query_one(statement, &[]).await.unwrap().get::<_, i64>(0) != hours {
            tokio::task::yield_now().await;
        }
    };
    let cli = async |server: &str, arguments: &[&str]| -> Run {
        let mut command = command(arguments);
        command.env("DATABASE_URL", &url).env("ANALYTICS_SERVER", server);
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    };

    let up = cli("http://127.0.0.1:9", &["migrate", "up", "--flavour", flavour.as_str(), "--without-roles"]).await;
    assert_eq!((up.code, up.stderr.as_str()), (0, ""));
    let daemon = Daemon::start_with(["--migrate", "--database-url", &url, "--settle-after", "0s"]).await;
    let works = async |arguments: &[&str]| -> String {
        let run = cli(daemon.url(), arguments).await;
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
        run.stdout
    };
    works(&["send", "--user", "anna", "--event", "click", "--at", "2015-05-17T10:05:00Z"]).await;
    settled(1).await;
    works(&["send", "--user", "ben", "--event", "impression", "--at", "2015-05-17T10:06:00Z"]).await;
    let query = &["query", "--at", "2015-05-17T10:00:00Z", "--format", "csv"];
    assert!(works(query).await.ends_with("2015-05-17T10:00:00Z,2,1,1\n"), "it was reopened");
    settled(1).await;
    works(&["verify"]).await;
    works(&["backfill"]).await;
    works(&["migrate", "verify"]).await;
    assert!(works(&["migrate", "status"]).await.starts_with(&format!("flavour {flavour}, without roles\n")));
    works(&["forget", "anna", "--yes"]).await;
    settled(1).await;
    assert!(works(query).await.ends_with("2015-05-17T10:00:00Z,1,0,1\n"));

    let rights = |report: &str| report.lines().find(|line| line.contains("  rights  ")).unwrap().to_owned();
    let report = rights(&works(&["doctor"]).await);
    let closes = format!("`revoke connect, temporary on database {name} from public`");
    assert!(report.starts_with("warning") && report.contains(&closes), "{report}");
    // The owner of the database runs what is printed.
    let as_owner = format!("set role {login}; {}; reset role", closes.trim_matches('`'));
    superuser.batch_execute(&as_owner).await.unwrap();
    let report = rights(&works(&["doctor"]).await);
    assert!(report.starts_with("ok") && report.contains(&format!("everything belongs to {login}")), "{report}");

    works(&["retention", "set", "--keep", "400d"]).await;
    works(&["retention", "show"]).await;
    assert!(works(&["token", "create", "shop", "--scope", "write"]).await.starts_with("an_"));
    assert!(daemon.terminate().await.success());
    superuser.batch_execute(&format!("alter database {name} owner to current_user")).await.unwrap();
    let reassign = format!("reassign owned by {login} to current_user; drop owned by {login}");
    superuser.batch_execute(&reassign).await.unwrap();
}
