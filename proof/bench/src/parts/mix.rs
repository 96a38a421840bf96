//! Half POST and half GET, 95 % of both for the current hour, which has a million events before the first load, and 5
//! % for settled past hours.

use anyhow::ensure;
use model::{Hour, HourCounts};

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
    let before = counts(stage, current).await?;
    let filled = [FilledHour { hour: current, events: EVENTS, users: USERS }];
    stage.fill_more(&filled).await?;
    table::fill(stage.database.client(), &filled).await?;
    let after = counts(stage, current).await?;
    let added = (after.clicks + after.impressions) - (before.clicks + before.impressions);
    ensure!(added == u64::from(EVENTS), "the current hour is not as filled: {before:?}, then {after:?}");

    let subject = Subject::new(Part::Mix, "mix", Axis::Connections, CONNECTIONS);
    let traffic = Traffic::mix(current, fill::settled_hours(), USERS);
    let mut planned = vec![
        stage.load(subject.clone(), &stage.ceiling, traffic),
        stage.slow_load(subject.clone(), &stage.textbook, traffic),
    ];
    planned.extend(stage.loads(&subject, traffic));
    stage.run(&planned, &stage.daemon).await
}

/// What all contenders count.
async fn counts(stage: &Stage<'_>, hour: Hour) -> anyhow::Result<HourCounts> {
    let textbook = stage.textbook.counts(hour).await?;
    for daemon in stage.daemons() {
        let counts = daemon.counts(hour).await?;
        ensure!(counts == textbook, "the current hour differs: {}: {counts:?}, textbook: {textbook:?}", daemon.name);
    }
    Ok(textbook)
}
