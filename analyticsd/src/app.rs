use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use db::{
    Store, StoreError, StoreOptions,
    embedded::Embedded,
    pooler,
    schema::{self, SchemaError, SchemaStatus},
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

use crate::{
    auth::{Gate, NobodyMayListen, Service, Tokens},
    config::{Config, Database},
    http::{
        routes::{Services, admin_routes, routes},
        server::{self, Limits},
        service::Front,
    },
    ingest::{lanes::Lanes, limits::body_budget::BodyBudget, losses::Losses, spool::SpoolLane},
    process::{
        open_files,
        service_manager::{self, Watchdog},
        signals,
    },
    query::{live::Live, readiness::Readiness, reports::Reports},
    settling,
    telemetry::{
        metrics::{Listener, Metrics},
        output::Output,
    },
};

/// How long a start waits for a database that cannot be reached yet, as when both start at the same time.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the lanes may take to end after the last connection has.
const LANE_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the daemon until it is asked to stop, and stops it in an orderly way.
pub async fn run(config: Config, output: &Output) -> anyhow::Result<()> {
    let stop = signals::stop_requested().context("cannot listen for signals")?;
    tokio::spawn(output.repeated.clone().tell());
    tokio::pin!(stop);
    let (url, mut embedded) = match &config.database {
        Database::Url(url) => (url.clone(), None),
        Database::Embedded(options) => {
            let embedded = tokio::select! {
                () = &mut stop => return Ok(()),
                started = Embedded::start(options) => started?,
            };
            tracing::info!(
                kind = %embedded.kind(), dir = %options.dir.display(), url = embedded.url(),
                "embedded database: {}. It is for trials: nobody backs it up", embedded.description()
            );
            (embedded.url().to_owned(), Some(embedded))
        }
    };

    let mut database_ended = false;
    let stop_or_end = async {
        tokio::select! {
            () = &mut stop => {}
            () = ended(embedded.as_mut()) => database_ended = true,
        }
    };
    let served = serve_until(stop_or_end, &config, &url, output).await;
    if database_ended {
        bail!("the embedded database ended by itself, so the daemon stopped; its log is in the folder of --embedded");
    }
    // The database goes last, whatever came before, so that nothing that was accepted is lost.
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    served
}

/// Resolves when the embedded database ends by itself; never if there is none.
async fn ended(embedded: Option<&mut Embedded>) {
    match embedded {
        Some(embedded) => embedded.ended().await,
        None => std::future::pending().await,
    }
}

async fn serve_until(
    stop: impl Future<Output = ()>,
    config: &Config,
    url: &str,
    output: &Output,
) -> anyhow::Result<()> {
    tokio::pin!(stop);
    let store = Store::new(url, StoreOptions::default())?;
    let metrics = Arc::new(Metrics::of_log(output.log.dropped()));
    // With a spool the daemon is of use before the database is there.
    let patience = if config.spool.is_some() { Duration::ZERO } else { DATABASE_PATIENCE };
    service_manager::waits("waiting for the database");
    let is_prepared = tokio::select! {
        () = &mut stop => return Ok(()),
        prepared = prepare_schema(&store, config.migrate, patience, &metrics) => match prepared {
            Ok(()) => true,
            Err(error) if config.spool.is_some() && is_outage(&error) => {
                tracing::warn!("{}; events go into the spool until it is there", db::describe(error.as_ref()));
                false
            }
            Err(error) => return Err(error),
        },
    };

    let folder = config.spool.as_ref().map(|spool| spool.dir.as_path());
    let tokens = Arc::new(Tokens::new(url, config.access.tokens_valid_for, folder)?);
    if is_prepared && read_tokens(&tokens, patience, config.spool.is_some()).await? {
        // Before anybody is let in by them.
        tokens.keep().await;
        let admin = config.admin_listen.map(|listen| ("admin-listen", listen));
        let listens = [("listen", config.listen)].into_iter().chain(admin);
        NobodyMayListen::check(&config.access, listens, tokens.ever().unwrap_or_default())?;
    } else {
        tokens.recall();
    }
    let gate = |service, listen| Arc::new(Gate::new(service, listen, &config.access, Arc::clone(&tokens)));
    // None of these ends by itself.
    let mut background = JoinSet::new();
    background.spawn({
        let tokens = Arc::clone(&tokens);
        async move { tokens.follow().await }
    });

    let listen = |address| server::listen(address).with_context(|| format!("cannot listen on {address}"));
    let listener = listen(config.listen)?;
    let address = listener.local_addr().context("cannot tell which port was taken")?;
    let admin_listener = config.admin_listen.map(listen).transpose()?;

    let mut lane_tasks = JoinSet::new();
    let losses = Losses::start(&store, &metrics, &mut background);
    let spool = config.spool.as_ref().map(|spool| {
        SpoolLane::start(&spool.dir, spool.max_bytes, &store, &metrics, &losses, &mut lane_tasks, &mut background)
    });
    let spool = spool.transpose().context("cannot spool")?;
    let lanes = Arc::new(Lanes::start(&store, spool.as_ref(), &metrics, losses, &mut lane_tasks));
    // The lanes hold it for as long as they may need it.
    drop(spool);
    let mut watchdog = Watchdog::start(address);
    let live = Arc::new(Live::new(Arc::clone(&lanes)));
    let looking = background.spawn({
        let live = Arc::clone(&live);
        async move { live.look().await }
    });
    let reports = Arc::new(Reports::new(url, &metrics)?);
    let budget = BodyBudget::default();
    let public = gate(Service::Public, config.listen);
    let readiness = Arc::new(Readiness::new(url, lanes.storing(), Arc::clone(&public), &metrics)?);
    let services = Services { lanes, live: Arc::clone(&live), reports, readiness, budget, limits: config.requests };
    watch(&services, &store, &metrics);
    background.spawn(settling::settle_forever(store.clone(), config.settle_after, Arc::clone(&metrics)));
    let admin = config.admin_listen.zip(admin_listener).map(|(listen, listener)| {
        let front = Front::new(gate(Service::Admin, listen), Arc::clone(&metrics), Listener::Admin);
        serve_admin(listener, front, &metrics, output)
    });

    output.say(&format!("listening on http://{address}"));
    if is_prepared {
        service_manager::serves(address);
    } else {
        service_manager::serves_with(address, "the database is away, events go into the spool");
    }
    let limits = open_files::make_room_for(config.limits);
    let front = Front::new(public, Arc::clone(&metrics), Listener::Public);
    let mut broken = None;
    let stopped_or_broken = async {
        tokio::select! {
            () = &mut stop => {}
            _ = lane_tasks.join_next() => broken = Some(anyhow!("a lane ended by itself, which is a bug; the daemon stopped")),
            _ = background.join_next() => broken = Some(anyhow!("a task in the background ended by itself, which is a bug; the daemon stopped")),
            error = prepare_schema_later(&store, config.migrate, address, &metrics), if !is_prepared => broken = Some(error),
        }
        watchdog.stopping();
        // Those who listen would never be done, and nobody may hold on to the lanes.
        live.end();
        drop(live);
        looking.abort();
    };
    let all_answered = server::serve(listener, front, routes(services), limits, stopped_or_broken).await;
    background.abort_all();
    if let Some(admin) = admin {
        admin.abort();
    }
    if let Some(broken) = broken {
        return Err(broken);
    }

    // With the last connection the last use of the lanes is gone, so they end as soon as their queues are empty.
    let drained = timeout(LANE_PATIENCE, async { while lane_tasks.join_next().await.is_some() {} }).await.is_ok();
    if all_answered && drained {
        tracing::info!("stopped; everything that was accepted is answered");
    } else {
        tracing::warn!("stopped with requests unanswered: the time for stopping ran out");
    }
    Ok(())
}

/// Serves what the daemon counts about itself until the task is aborted.
fn serve_admin(listener: TcpListener, front: Front, metrics: &Arc<Metrics>, output: &Output) -> JoinHandle<bool> {
    if let Ok(address) = listener.local_addr() {
        output.say(&format!("metrics on http://{address}"));
    }
    let routes = admin_routes(Arc::clone(metrics));
    tokio::spawn(server::serve(listener, front, routes, Limits::admin(), std::future::pending()))
}

/// Lets be read among the numbers of the daemon what its parts hold.
fn watch(services: &Services, store: &Store, metrics: &Metrics) {
    services.lanes.watch(metrics);
    services.live.watch(metrics);
    services.reports.watch();
    services.budget.watch(metrics);
    metrics.watch_pool("events", store, Store::pool_use);
    metrics.watch_pool("counts", store, Store::read_pool_use);
}

/// The same once the database is there. Returns what is wrong with it, and nothing if all is well.
async fn prepare_schema_later(store: &Store, migrate: bool, address: SocketAddr, metrics: &Metrics) -> anyhow::Error {
    loop {
        store.answers().await;
        match prepare_schema(store, migrate, DATABASE_PATIENCE, metrics).await {
            Ok(()) => {
                service_manager::serves(address);
                return std::future::pending().await;
            }
            Err(error) if is_outage(&error) => {}
            Err(error) => return error,
        }
    }
}

fn is_outage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_outage)
}

/// Whether the tokens could be read. With a spool the daemon is of use without.
async fn read_tokens(tokens: &Tokens, patience: Duration, has_spool: bool) -> anyhow::Result<bool> {
    match patiently(patience, async || Ok(tokens.refresh().await?)).await {
        Ok(()) => Ok(true),
        Err(error) if has_spool && is_outage(&error) => {
            tracing::warn!("{}; the access tokens cannot be read", db::describe(error.as_ref()));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Brings the schema to this version if asked to, and refuses any other.
async fn prepare_schema(store: &Store, migrate: bool, patience: Duration, metrics: &Metrics) -> anyhow::Result<()> {
    if migrate {
        let migrated = patiently(patience, async || schema::migrate(store, None).await).await?;
        tracing::info!(flavour = %migrated.flavour, migrations = migrated.applied.len(), "the schema is up to date");
        if !migrated.roles.lacking.is_empty() {
            tracing::warn!("the roles of the schema are not all set up; `analytics-cli doctor` says what is lacking");
        }
    } else {
        // Else migrating looked at that.
        patiently(patience, async || Ok(pooler::sessions(store).await??)).await?;
    }
    let status: SchemaStatus = patiently(patience, async || schema::status(store).await).await?;
    metrics.database.schema_version.set(status.version().into());
    metrics.database.answered();
    if let Some(complaint) = status.complaint() {
        bail!("{complaint}");
    }
    if status.is_newer_but_compatible() {
        tracing::warn!("a newer version made the schema, which this one can go on with; upgrade this daemon too");
    }
    if let Err(error) = store.open_read_connections().await {
        tracing::warn!(%error, "the connections for reading counts are not open yet; the first who ask wait for them");
    }
    Ok(())
}

/// Tries again for a while as long as the database cannot be reached.
async fn patiently<T>(patience: Duration, mut call: impl AsyncFnMut() -> Result<T, SchemaError>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(SchemaError::Store(
                error @ (StoreError::Unreachable(_) | StoreError::TimedOut(_) | StoreError::Cancelled(_)),
            )) => {
                if began.elapsed() >= patience {
                    return Err(anyhow!(error).context(format!("no database after {} seconds", patience.as_secs())));
                }
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            other => return Ok(other?),
        }
    }
}
