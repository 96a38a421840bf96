//! POST on a database whose commits take 2 ms longer, as with a slow disk. One database for each daemon.

use db::Store;

use super::{CONNECTIONS, Findings, MANY_CONNECTIONS, Stage, current_hour};
use crate::{
    database::store_options,
    fill::USERS,
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    servers::Server,
    table,
    wrk::Traffic,
};

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let url = stage.database.make_slow_beside("slow").await?;
    let store = Store::new(&url, store_options())?;
    db::schema::migrate(&store, Some(stage.flavour)).await?;
    table::make(&*store.plain_client().await?, stage.flavour).await?;
    let textbook = stage.programs.textbook(&url, stage.flavour, stage.plan.textbook_connections).await?;
    let mut daemons = vec![stage.programs.daemon(&url).await?];
    if let Some(earlier) = &stage.earlier {
        let url = stage.database.make_slow_beside("slow_earlier").await?;
        earlier.programs.migrate(&url).await?;
        daemons.push(earlier.programs.daemon(&url).await?);
    }

    let traffic = Traffic::posts(current_hour(), USERS);
    // With one connection, the textbook shows how long a commit takes.
    let mut planned = vec![load(stage, &textbook, 1, traffic)];
    for connections in [CONNECTIONS, MANY_CONNECTIONS] {
        for server in std::iter::once(&textbook).chain(&daemons) {
            planned.push(load(stage, server, connections, traffic));
        }
    }
    stage.run_on(&planned, &daemons.iter().collect::<Vec<_>>()).await
}

fn load<'a>(stage: &Stage<'_>, server: &'a Server, connections: u32, traffic: Traffic) -> Planned<'a> {
    let subject = Subject::new(Part::SlowDisk, "POST", Axis::Connections, connections);
    Planned { connections, ..stage.load(subject, server, traffic) }
}
