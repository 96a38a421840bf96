//! GET of the current hour, by connections. It holds 1,000 events, so that the textbook can keep up.

use super::{Findings, Stage, current_hour};
use crate::{
    fill::{FilledHour, USERS},
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    wrk::Traffic,
};

const EVENTS: u32 = 1_000;

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let filled = [FilledHour { hour: current_hour(), events: EVENTS, users: USERS }];
    stage.fill(&filled).await?;
    stage.fill_textbook(&filled).await?;

    let traffic = Traffic::gets(filled[0].hour);
    let mut planned = Vec::new();
    for &connections in &stage.plan.sizes.connections {
        let subject = Subject::new(Part::Reads, "GET", Axis::Connections, connections);
        for server in stage.contenders() {
            planned.push(Planned { connections, ..stage.load(subject.clone(), server, traffic) });
        }
    }
    stage.run(&planned, &stage.daemon).await
}
