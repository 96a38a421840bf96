//! POST for the current hour, by connections.

use super::{Findings, Stage, current_hour};
use crate::{
    fill::USERS,
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    wrk::Traffic,
};

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let traffic = Traffic::posts(current_hour(), USERS);
    let mut planned = Vec::new();
    for &connections in &stage.plan.sizes.connections {
        let subject = Subject::new(Part::Writes, "POST", Axis::Connections, connections);
        for server in stage.contenders() {
            planned.push(Planned { connections, ..stage.load(subject.clone(), server, traffic) });
        }
    }
    stage.run(&planned, &stage.daemon).await
}
