//! The daemon as a whole: puts its parts together from the configuration, serves, and stops in order.

mod addresses;
mod startup;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use db::{
    Shards, ShardsError, Store, StoreOptions,
    embedded::{Embedded, EmbeddedOptions},
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::task::AbortOnDropHandle;

#[cfg(feature = "kafka")]
use crate::kafka::{self, StoringServices};
use crate::{
    auth::{AccessTables, Gate, OpenWithoutTokens, Sites},
    batches::VisitorNames,
    config::{Config, Database},
    http::{self, HttpService, Limits, Router, Services},
    ingest::{
        lanes::EventLanes,
        limits::body_budget::BodyBudget,
        losses::Losses,
        spool::{ShardSpools, SpoolError},
    },
    process::{
        open_files,
        service_manager::{self, Watchdog},
        signals,
        tasks::Tasks,
    },
    query::{lanes::CountLanes, live::Live, readiness::Readiness, reports::Reports},
    settling,
    telemetry::{
        metrics::{Listener, Metrics},
        output::Output,
    },
};
use addresses::{Addresses, Taken};
use startup::{DATABASE_PATIENCE, Preparation, is_outage, read_tokens};

/// How long the lanes may take to end after the last connection has.
const LANE_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the daemon until it is asked to stop, and stops it in an orderly way.
pub async fn run(config: Config, output: &Output) -> anyhow::Result<()> {
    let stop_requested = signals::stop_requested().context("cannot listen for signals")?;
    tokio::spawn(output.repeated.clone().report_left_out());
    let tasks = Tasks::default();
    tokio::spawn({
        let tasks = tasks.clone();
        async move {
            stop_requested.await;
            tasks.stop();
        }
    });
    let addresses = Addresses::take(&config)?;
    match &config.database {
        Database::Urls(urls) => Box::pin(serve(&config, urls, addresses, output, tasks)).await,
        Database::Embedded(options) => Box::pin(serve_embedded(&config, options, addresses, output, tasks)).await,
    }
}

/// Whether only other settings can mend an error of [`run`].
pub fn is_of_settings(error: &anyhow::Error) -> bool {
    error.is::<OpenWithoutTokens>()
        || error.downcast_ref::<ShardsError>().is_some_and(ShardsError::is_of_settings)
        || matches!(error.downcast_ref(), Some(SpoolError::OtherShards { .. }))
}

async fn serve_embedded(
    config: &Config,
    options: &EmbeddedOptions,
    addresses: Addresses,
    output: &Output,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let Some(started) = tasks.unless_stopping(Embedded::start(options)).await else { return Ok(()) };
    let mut embedded = started?;
    tracing::info!(
        kind = %embedded.kind(), dir = %options.dir.display(), url = embedded.url(),
        "embedded database: {}. It is for trials and has no backup", embedded.description()
    );
    let urls = [embedded.url().to_owned()];
    let serving = serve(config, &urls, addresses, output, tasks.clone());
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = embedded.ended() => {
            tasks.stop();
            let _ = serving.await;
            bail!("the embedded database ended by itself, so the daemon stopped; its log is in the folder of --embedded");
        }
    };
    // The database stops last, even after an error, so that no accepted event is lost.
    embedded.stop().await?;
    served
}

async fn serve(
    config: &Config,
    urls: &[String],
    addresses: Addresses,
    output: &Output,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let starting = Box::pin(App::start(config, urls, addresses, output, tasks.clone()));
    match tasks.unless_stopping(starting).await {
        Some(Ok(app)) => app.serve(output).await,
        unfinished => {
            tasks.end_background();
            unfinished.map_or(Ok(()), |started| started.map(drop))
        }
    }
}

/// The parts of a daemon that is ready to serve.
struct App {
    tasks: Tasks,
    shards: Shards,
    live: Arc<Live>,
    listener: TcpListener,
    address: SocketAddr,
    service: HttpService,
    limits: Limits,
    admin: Option<AbortOnDropHandle<bool>>,
    watchdog: Watchdog,
    /// With a spool the daemon starts before every database answers.
    left_to_prepare: Option<Preparation>,
}

impl App {
    async fn start(
        config: &Config,
        urls: &[String],
        addresses: Addresses,
        output: &Output,
        tasks: Tasks,
    ) -> anyhow::Result<Self> {
        let shards = Shards::new(urls, &StoreOptions::default())?;
        let metrics = Arc::new(Metrics::new(
            http::route_names(),
            output.log.dropped(),
            config.metrics_sites.iter().cloned(),
            shards.len(),
        ));
        let has_spool = config.spool.is_some();
        if let Some(spool) = &config.spool {
            ShardSpools::recall_counter(&spool.dir, &shards)?;
        }
        // Which of several databases is which is not known before all have answered once: nothing is stored by a guess.
        let is_counter_known = shards.len() == 1 || shards.counter().is_some();
        let may_do_without = has_spool && is_counter_known;
        let patience = if may_do_without { Duration::ZERO } else { DATABASE_PATIENCE };
        service_manager::waits(&format!("waiting for {}", shards.names()));
        let mut preparation = Preparation::new(&shards, config.migrate, &metrics);
        let left_to_prepare = match preparation.make(patience).await {
            Ok(()) => None,
            Err(error) if is_outage(&error) && may_do_without => {
                let whose = if shards.len() == 1 { "" } else { " of its visitors" };
                let error = db::describe(error.as_ref());
                tracing::warn!("{error}; events{whose} go into the spool until the database answers");
                Some(preparation)
            }
            Err(error) => return Err(error),
        };
        let is_prepared = left_to_prepare.is_none();
        let tokens = tokens(config, &shards, &metrics, is_prepared, patience).await?;
        tasks.spawn_background("following the access tokens", {
            let tokens = Arc::clone(&tokens);
            async move { tokens.follow().await }
        });

        let listener = addresses.public.listen()?;
        let address = listener.local_addr().context("cannot find out which port was taken")?;
        let admin_listener = addresses.admin.map(Taken::listen).transpose()?;

        let gate = |listener, listen| Arc::new(Gate::new(listener, listen, &config.access, Arc::clone(&tokens)));
        let public = gate(Listener::Public, config.listen);
        let services = services(config, &shards, &metrics, &public, Arc::clone(&tokens), &tasks)?;
        #[cfg(feature = "kafka")]
        if let Some(topic) = config.kafka.clone() {
            let used = StoringServices {
                shards: shards.clone(),
                events: Arc::clone(&services.events),
                names: Arc::clone(&services.names),
                sites: Arc::clone(&services.sites),
                ages: services.limits.ages,
                metrics: Arc::clone(&metrics),
            };
            kafka::start(topic, used, &tasks).context("cannot read the topic")?;
        }
        let live = Arc::clone(&services.live);
        tasks.spawn_background("looking at the current hour", {
            let live = Arc::clone(&live);
            async move { live.look().await }
        });
        for (shard, metrics) in metrics.shards.iter().enumerate() {
            let settling = settling::settle_forever(shards.clone(), shard, config.settle_after, Arc::clone(metrics));
            tasks.spawn_background("settling", settling);
        }

        let service = |gate, listener| {
            let router = Router::new(listener, config.public_path.clone(), &services);
            HttpService::new(gate, router, Arc::clone(&metrics))
        };
        let admin = config.admin_listen.zip(admin_listener).map(|(listen, listener)| {
            let service = service(gate(Listener::Admin, listen), Listener::Admin);
            serve_admin(listener, service, output)
        });
        let Limits { connections, refusals, .. } = config.limits;
        let share = open_files::make_room_for(open_files::Share { connections, refusals });
        let limits = Limits { connections: share.connections, refusals: share.refusals, ..config.limits };
        Ok(Self {
            tasks,
            shards,
            live,
            listener,
            address,
            service: service(public, Listener::Public),
            limits,
            admin,
            watchdog: Watchdog::start(address),
            left_to_prepare,
        })
    }

    async fn serve(self, output: &Output) -> anyhow::Result<()> {
        let Self { tasks, shards, live, listener, address, service, limits, admin, mut watchdog, left_to_prepare } =
            self;
        output.print(&format!("listening on http://{address}"));
        if left_to_prepare.is_none() {
            service_manager::serves(address);
        } else {
            let what = match shards.len() {
                1 => "the database is unavailable, events go into the spool",
                _ => "a database is unavailable; /readyz names its shard",
            };
            service_manager::serves_with(address, what);
        }
        let mut unfit = None;
        let stopping = async {
            tokio::select! {
                () = tasks.stopping() => {}
                Some(error) = async { Some(left_to_prepare?.make_later(address).await) } => {
                    unfit = Some(error);
                    tasks.stop();
                }
            }
            watchdog.stopping();
            // Connections of the live stream would never end by themselves.
            live.end();
        };
        let all_answered = http::serve(listener, service, limits, stopping).await;
        drop((admin, live));
        // The last connection held the last handle of the lanes, so they end as soon as their queues are empty.
        let drained = timeout(LANE_PATIENCE, tasks.lanes_end()).await.is_ok();
        if let Some(error) = unfit {
            return Err(error);
        }
        if let Some(task) = tasks.ended_early() {
            bail!("{task} ended by itself, which is a bug; the daemon stopped");
        }
        if all_answered && drained {
            tracing::info!("stopped; every accepted request was answered");
        } else {
            tracing::warn!("stopped before every request was answered: the time for stopping ran out");
        }
        Ok(())
    }
}

/// The access tokens from the database or, while it is unavailable, from the copy on disk.
async fn tokens(
    config: &Config,
    shards: &Shards,
    metrics: &Arc<Metrics>,
    is_prepared: bool,
    patience: Duration,
) -> anyhow::Result<Arc<AccessTables>> {
    let folder = config.spool.as_ref().map(|spool| spool.dir.as_path());
    let tokens = Arc::new(AccessTables::new(shards, config.access.tokens_valid_for, folder, metrics));
    // Of several shards another one may be away.
    let may_be_there = is_prepared || shards.len() > 1;
    let patience = if is_prepared { patience } else { Duration::ZERO };
    let may_do_without = config.spool.is_some() || !is_prepared;
    if may_be_there && read_tokens(&tokens, shards, patience, may_do_without).await? {
        // The copy is written before the first request is admitted.
        tokens.keep().await;
        let admin = config.admin_listen.map(|listen| ("admin-listen", listen));
        let listens = [("listen", config.listen)].into_iter().chain(admin);
        OpenWithoutTokens::check(&config.access, listens, tokens.ever().unwrap_or_default())?;
    } else {
        tokens.recall();
    }
    Ok(tokens)
}

/// Builds what the handlers use, and adds its numbers to the metrics.
fn services(
    config: &Config,
    shards: &Shards,
    metrics: &Arc<Metrics>,
    public: &Arc<Gate>,
    tokens: Arc<AccessTables>,
    tasks: &Tasks,
) -> anyhow::Result<Services> {
    let losses: Vec<Losses> =
        shards.iter().zip(&metrics.shards).map(|(store, metrics)| Losses::start(store, metrics, tasks)).collect();
    let spools = config
        .spool
        .as_ref()
        .map(|spool| ShardSpools::start(&spool.dir, spool.max_bytes, shards, &losses, metrics, tasks));
    let spools = spools.transpose().context("cannot start the spool")?;
    let events = Arc::new(EventLanes::start(shards, spools.as_ref(), losses, config.commit_depth, metrics, tasks));
    let counts = Arc::new(CountLanes::start(shards, metrics, tasks));
    let live = Arc::new(Live::new(Arc::clone(&counts)));
    let reports = Arc::new(Reports::new(shards, metrics));
    let readiness = Arc::new(Readiness::new(shards, events.storing(), Arc::clone(public), metrics));
    let budget = BodyBudget::default();
    counts.watch(metrics);
    live.watch(metrics);
    reports.watch();
    budget.watch(metrics);
    for (store, metrics) in shards.iter().zip(&metrics.shards) {
        metrics.watch_pool("events", store, Store::pool_use);
        metrics.watch_pool("counts", store, Store::read_pool_use);
    }
    Ok(Services {
        events,
        counts,
        live,
        sites: Arc::new(Sites::new(tokens, &config.access, metrics)),
        names: Arc::new(VisitorNames::new(Arc::clone(&reports))),
        reports,
        readiness,
        metrics: Arc::clone(metrics),
        budget,
        limits: config.requests,
    })
}

/// Serves the metrics until the handle is dropped.
fn serve_admin(listener: TcpListener, service: HttpService, output: &Output) -> AbortOnDropHandle<bool> {
    if let Ok(address) = listener.local_addr() {
        output.print(&format!("metrics on http://{address}"));
    }
    AbortOnDropHandle::new(tokio::spawn(http::serve(listener, service, Limits::admin(), std::future::pending())))
}
