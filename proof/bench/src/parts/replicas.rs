//! GET and POST of the current hour by the number of daemons on the database. The same clients are spread over them
//! evenly.

use super::{Findings, Stage, current_hour};
use crate::{
    fill::USERS,
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    servers::Server,
    wrk::Traffic,
};

/// Can be shared out evenly between one, two and three.
const CONNECTIONS: u32 = 192;

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let numbers = &stage.plan.sizes.daemons;
    let mut daemons = Vec::new();
    for _ in 0..numbers.iter().copied().max().unwrap_or_default() {
        daemons.push(stage.programs.daemon(stage.database.url()).await?);
    }
    let current = current_hour();
    let mut planned = Vec::new();
    for (question, traffic) in [("GET", Traffic::gets(current)), ("POST", Traffic::posts(current, USERS))] {
        for &number in numbers {
            let servers: Vec<&Server> = daemons.iter().take(number as usize).collect();
            let subject = Subject::new(Part::Replicas, question, Axis::Daemons, number);
            planned.push(Planned { servers, connections: CONNECTIONS, ..stage.load(subject, &stage.daemon, traffic) });
        }
    }
    stage.run(&planned, &daemons[0]).await
}
