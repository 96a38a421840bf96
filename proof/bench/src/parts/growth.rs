//! How the cost of GET and POST grows: with the events in the hour, its distinct users, and the number of past hours
//! in a load. For comparison, the textbook's GET of the same hours, as long as it takes only seconds.

use db::Flavour;
use model::Hour;

use super::{Findings, MANY_CONNECTIONS, Stage};
use crate::{
    fill::{self, FilledHour, USERS, past_hour},
    interleave::Planned,
    measure::{Axis, Subject},
    plan::Part,
    wrk::{PastHours, Traffic},
};

/// Places in the past, after the settled hours and apart from one another.
const FIRST_HOUR_BY_EVENTS: u32 = 100;
const FIRST_HOUR_BY_USERS: u32 = 150;
const FIRST_HOUR_OF_MANY: u32 = 200;
const EVENTS_OF_MANY: u32 = 10;

/// The textbook reads the former in some milliseconds, and ten times the latter in ten seconds.
const FAST_FOR_TEXTBOOK: u32 = 10_000;
const MOST_FOR_TEXTBOOK: u32 = 1_000_000;

struct Hours {
    by_events: Vec<FilledHour>,
    by_users: Vec<FilledHour>,
    many: Vec<FilledHour>,
}

impl Hours {
    fn new(stage: &Stage<'_>) -> Self {
        let sizes = &stage.plan.sizes;
        let many = PastHours { first: past_hour(FIRST_HOUR_OF_MANY), count: last(&sizes.hours) };
        Self {
            by_events: (FIRST_HOUR_BY_EVENTS..)
                .zip(&sizes.events)
                .map(|(number, &events)| FilledHour { hour: past_hour(number), events, users: USERS })
                .collect(),
            by_users: (FIRST_HOUR_BY_USERS..)
                .zip(&sizes.users)
                .map(|(number, &users)| FilledHour { hour: past_hour(number), events: users, users })
                .collect(),
            many: many.iter().map(|hour| FilledHour { hour, events: EVENTS_OF_MANY, users: USERS }).collect(),
        }
    }

    fn for_textbook(&self) -> impl Iterator<Item = FilledHour> {
        self.by_events.iter().filter(|filled| filled.events <= MOST_FOR_TEXTBOOK).copied()
    }
}

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let hours = Hours::new(stage);
    eprintln!("filling hours with {} events", hours.events());
    stage.fill(&[&hours.by_events[..], &hours.by_users, &hours.many].concat()).await?;
    stage.fill_textbook(&hours.for_textbook().collect::<Vec<_>>()).await?;

    // Reads come first, before the hours change.
    let mut found = stage.run(&reads(stage, &hours), &stage.daemon).await?;
    let written = stage.run(&writes(stage, &hours), &stage.daemon).await?;
    found.measurements.extend(written.measurements);
    found.audited += written.audited;
    Ok(found)
}

fn reads<'a>(stage: &'a Stage<'_>, hours: &Hours) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for filled in &hours.by_events {
        let subject = Subject::new(Part::Growth, "GET", Axis::Events, filled.events);
        planned.extend(stage.loads(&subject, Traffic::gets(filled.hour)));
    }
    for filled in hours.for_textbook() {
        let subject = Subject::new(Part::Growth, "GET", Axis::Events, filled.events);
        planned.push(textbook_read(stage, subject, filled.hour, filled.events <= FAST_FOR_TEXTBOOK));
    }
    let settled = fill::large_settled_hour();
    let subject = Subject::new(Part::Growth, "GET, settled hour", Axis::Events, settled.events);
    planned.extend(stage.loads(&subject, Traffic::gets(settled.hour)));
    // If there is an aggregate, it has materialized this hour.
    let is_fast = stage.flavour == Flavour::Timescale;
    planned.push(textbook_read(stage, subject, settled.hour, is_fast));

    for filled in &hours.by_users {
        let subject = Subject::new(Part::Growth, "GET", Axis::Users, filled.users);
        planned.extend(stage.loads(&subject, Traffic::gets(filled.hour)));
    }
    let first = past_hour(FIRST_HOUR_OF_MANY);
    for &count in &stage.plan.sizes.hours {
        let traffic = Traffic::gets(first).spread_over(PastHours { first, count });
        let subject = Subject::new(Part::Growth, "GET", Axis::Hours, count);
        planned.extend(stage.loads(&subject, traffic));
    }
    planned
}

fn textbook_read<'a>(stage: &'a Stage<'_>, subject: Subject, hour: Hour, is_fast: bool) -> Planned<'a> {
    let traffic = Traffic::gets(hour);
    if is_fast {
        stage.load(subject, &stage.textbook, traffic)
    } else {
        stage.slow_load(subject, &stage.textbook, traffic)
    }
}

fn writes<'a>(stage: &'a Stage<'_>, hours: &Hours) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for filled in &hours.by_events {
        let subject = Subject::new(Part::Growth, "POST", Axis::Events, filled.events);
        planned.extend(stage.loads(&subject, Traffic::posts(filled.hour, USERS)));
    }
    for filled in &hours.by_users {
        let subject = Subject::new(Part::Growth, "POST", Axis::Users, filled.users);
        planned.extend(stage.loads(&subject, Traffic::posts(filled.hour, filled.users)));
    }
    let first = past_hour(FIRST_HOUR_OF_MANY);
    for &count in &stage.plan.sizes.hours {
        let traffic = Traffic::posts(first, USERS).spread_over(PastHours { first, count });
        let subject = Subject::new(Part::Growth, "POST", Axis::Hours, count);
        planned.extend(stage.loads(&subject, traffic));
    }

    // For the memory of the daemon: the promised number of connections, and all users and hours.
    let most = PastHours { first, count: last(&stage.plan.sizes.hours) };
    let traffic = Traffic::posts(first, last(&stage.plan.sizes.users)).spread_over(most);
    let subject = Subject::new(Part::Growth, "POST, most users and hours", Axis::Connections, MANY_CONNECTIONS);
    planned.extend(stage.loads(&subject, traffic).map(|load| Planned { connections: MANY_CONNECTIONS, ..load }));
    planned
}

impl Hours {
    fn events(&self) -> u64 {
        [&self.by_events, &self.by_users, &self.many].into_iter().flatten().map(|filled| u64::from(filled.events)).sum()
    }
}

fn last(sizes: &[u32]) -> u32 {
    *sizes.last().expect("a plan has a size of every kind")
}
