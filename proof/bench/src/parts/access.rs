//! The cost of tokens and rate limits: GET and POST of the current hour, by connections.

use super::{Findings, Stage, current_hour};
use crate::{
    fill::USERS,
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    wrk::Traffic,
};

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let guarded = stage.programs.guarded(stage.database.url()).await?;
    let current = current_hour();
    let mut planned = Vec::new();
    for (question, traffic) in [("GET", Traffic::gets(current)), ("POST", Traffic::posts(current, USERS))] {
        for &connections in &stage.plan.sizes.connections {
            let subject = Subject::new(Part::Access, question, Axis::Connections, connections);
            for server in [&stage.daemon, &guarded] {
                planned.push(Planned { connections, ..stage.load(subject.clone(), server, traffic) });
            }
        }
    }
    stage.run(&planned, &stage.daemon).await
}
