//! Half POST and half GET, 95 % of both for the current hour, which has a million events before the first load, and 5
//! % for settled past hours.

use anyhow::ensure;

use super::{CONNECTIONS, Findings, Stage, current_hour};
use crate::{
    fill::{self, FilledHour, USERS},
    measure::{Axis, Subject},
    plan::Part,
    table,
    wrk::Traffic,
};

const EVENTS: u32 = 1_000_000;

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    eprintln!("filling the current hour");
    let current = current_hour();
    let (daemon_before, textbook_before) = (stage.daemon.counts(current).await?, stage.textbook.counts(current).await?);
    ensure!(daemon_before == textbook_before, "the current hour differs: {daemon_before:?}, {textbook_before:?}");
    let filled = [FilledHour { hour: current, events: EVENTS, users: USERS }];
    fill::fill(stage.database.store(), &filled).await?;
    table::fill(stage.database.client(), &filled).await?;
    let (daemon, textbook) = (stage.daemon.counts(current).await?, stage.textbook.counts(current).await?);
    let added = (daemon.clicks + daemon.impressions) - (daemon_before.clicks + daemon_before.impressions);
    ensure!(
        daemon == textbook && added == u64::from(EVENTS),
        "the current hour is not as filled: {daemon:?}, {textbook:?}"
    );

    let subject = Subject::new(Part::Mix, "mix", Axis::Connections, CONNECTIONS);
    let traffic = Traffic::mix(current, fill::settled_hours(), USERS);
    let planned = [
        stage.load(subject.clone(), &stage.ceiling, traffic),
        stage.slow_load(subject.clone(), &stage.textbook, traffic),
        stage.load(subject, &stage.daemon, traffic),
    ];
    stage.run(&planned, &stage.daemon).await
}
