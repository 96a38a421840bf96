//! Several sites under a daemon that is killed, while another site comes and goes.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use db::{CreatedSite, DeletedSite, Sites, Store};
use harness::{Daemon, PrivateServer};
use model::{HourCounts, SiteId, SiteName, Timestamp, wire::ANALYTICS_PATH};
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Site, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// Those that stay, beside the one without a name.
const NAMES: [&str; 3] = ["shop", "blog", "news"];
/// The one that comes and goes: each time another site has the name.
const PASSING: &str = "passing";
const RENAMED: &str = "renamed";
/// How many days of it have events.
const DAYS: i64 = 5;
const DAY: i64 = 86_400_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// Clients count for four sites, in the same hours and with the same names of visitors, while the daemon is killed again
/// and again. Meanwhile another site is made, counted for, renamed and deleted, and a new one gets its name. No site
/// counts an event of another, and of those that were deleted no event is left.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("sites that come and go");
    let server = options.start_server().await?;
    let mut sites = vec![Site { id: SiteId::NAMELESS, name: None }];
    for name in NAMES {
        sites.push(make(server.store(), name).await?);
    }
    let arguments = ["--settle-after", "10ms"];
    let mut daemon = options.start_daemon(server.url(), &arguments).await;
    let mix = Mix { sites: sites.clone(), ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        make(server.store(), PASSING).await?;
        come_and_go(&mut report, &server, &daemon).await?;
        daemon.kill().await;
        traffic.point_at(&[]);
        report.faults += 1;
        daemon = options.start_daemon(server.url(), &arguments).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    forgotten(server.store(), &sites).await?;
    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}

async fn make(store: &Store, name: &str) -> anyhow::Result<Site> {
    let name = SiteName::new(name)?;
    match Sites(store).create(&name, None).await? {
        CreatedSite::Created(id) => Ok(Site { id, name: Some(name) }),
        other => anyhow::bail!("the site {name} is not made: {other:?}"),
    }
}

/// The site is there already, and nothing counts for it yet. It is deleted while events are sent to it, which are stored or
/// refused, and of the days that it has the daemon is killed before it has forgotten them all.
async fn come_and_go(report: &mut Report, server: &PrivateServer, daemon: &Daemon) -> anyhow::Result<()> {
    let at = |day: i64| format!("{}{ANALYTICS_PATH}?timestamp={}", daemon.url(), Timestamp::now().millis() - day * DAY);
    let of_site = |name: &str, day| format!("{}&site={name}", at(day));
    let counts =
        first_counts(daemon, &of_site(PASSING, 0)).await.context("the daemon does not get to know a new site")?;
    report.promise(counts == HourCounts::default(), format_args!("a new site begins with {counts:?}"));
    for day in 0..DAYS {
        let event = daemon.http().post(of_site(PASSING, day) + "&user=regular-1&event=click").send().await?;
        ensure!(event.status() == StatusCode::NO_CONTENT, "an event of a new site is answered {}", event.status());
    }
    let sites = Sites(server.store());
    let (old, new) = (SiteName::new(PASSING)?, SiteName::new(RENAMED)?);
    sites.rename(&old, &new).await?;
    first_counts(daemon, &of_site(RENAMED, 0)).await.context("the daemon does not get to know a new name")?;
    let sending = async {
        for user in 0.. {
            let event = daemon.http().post(format!("{}&user=late-{user}&event=click", of_site(RENAMED, 0)));
            match event.send().await?.status() {
                StatusCode::NO_CONTENT => {}
                status => return anyhow::Ok(status),
            }
        }
        unreachable!("numbers do not end")
    };
    let deleting = async {
        // Some are sent before.
        sleep(Duration::from_millis(20)).await;
        loop {
            match sites.delete(&new).await? {
                DeletedSite::Busy => {}
                DeletedSite::Deleted => return anyhow::Ok(()),
                DeletedSite::Unknown => anyhow::bail!("a renamed site is not found"),
            }
        }
    };
    let (status, ()) = tokio::try_join!(sending, deleting)?;
    let is_refused = status == StatusCode::BAD_REQUEST;
    report.promise(is_refused, format_args!("an event of a site that is being deleted is answered {status}"));
    Ok(())
}

/// What a site counts as soon as the daemon knows it.
async fn first_counts(daemon: &Daemon, target: &str) -> anyhow::Result<HourCounts> {
    let began = Instant::now();
    loop {
        let answer = daemon.http().get(target).send().await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.text().await?.parse()?);
        }
        ensure!(began.elapsed() < PATIENCE, "it answers {} after {PATIENCE:?}", answer.status());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no event of another site than these is stored.
async fn forgotten(store: &Store, sites: &[Site]) -> anyhow::Result<()> {
    let is_known = |id: SiteId| sites.iter().any(|site| site.id == id);
    let began = Instant::now();
    while store.stored_events().await?.iter().any(|(hour, ..)| !is_known(hour.site)) {
        ensure!(began.elapsed() < PATIENCE, "events of deleted sites are stored after {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
