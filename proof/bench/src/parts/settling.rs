//! What settling an hour costs, and what of it is numbering its visitors.

use std::time::Instant;

use anyhow::{bail, ensure};
use db::{Ingested, Store, Writer};
use model::{Event, EventKind, Hour, SiteEvent, UserName, wire::MAX_BATCH_EVENTS};
use roaring::RoaringBitmap;
use tokio_postgres::Client;

use super::{
    Stage,
    ranges::{millis, named},
};
use crate::{
    figure::Figure,
    fill::past_hour,
    month::{HOURS, Month, bytes_of},
    plan::Part,
};

/// To settling without numbering, where each visitor has several events.
const MOST: f64 = 1.5;
/// Behind the open hour.
const FIRST_HOUR: u32 = HOURS + 24;

struct Case {
    name: &'static str,
    events_of_each: usize,
    are_known: bool,
}

const CASES: [Case; 3] = [
    Case { name: "10 events each", events_of_each: 10, are_known: true },
    Case { name: "1 event each", events_of_each: 1, are_known: true },
    Case { name: "1 event each and all of them new", events_of_each: 1, are_known: false },
];

/// Each hour has other visitors, drawn like those of the month. While no daemon runs.
pub(super) async fn measure(
    stage: &Stage<'_>,
    month: Month,
    store: &Store,
    client: &Client,
) -> anyhow::Result<Vec<Figure>> {
    let mut times = CASES.map(|_| Vec::new());
    let mut hours = (FIRST_HOUR..).map(|number| (number, past_hour(number)));
    for round in 1..=stage.plan.rounds {
        for (case, (times, (number, hour))) in CASES.iter().zip(times.iter_mut().zip(hours.by_ref())) {
            eprintln!("round {round} of {}: settling, {}", stage.plan.rounds, named(case.name, month));
            let drawn = month.draw(number);
            let names = if case.are_known { known(month, drawn) } else { unknown(month, hour, drawn) };
            fill(store, hour, case.events_of_each, &names).await?;
            client.batch_execute("vacuum analyze").await?;
            times.push(settle(client, hour, names.len()).await?);
        }
    }
    let figures = CASES.iter().zip(times).flat_map(|(Case { name, events_of_each, .. }, times)| {
        let figure = |what: &str, unit, value: fn(&Times) -> f64| {
            let name = named(&format!("settling an hour{what}, {name}"), month);
            Figure::new(Part::Ranges, name, unit, times.iter().map(value).collect())
        };
        let ratio = figure(" to the same without numbers", "×", |times| times.all() / (times.all() - times.numbering));
        let ratio = if *events_of_each > 1 { ratio.at_most(MOST) } else { ratio };
        [figure("", "ms", Times::all), ratio]
    });
    Ok(figures.collect())
}

/// In milliseconds.
struct Times {
    numbering: f64,
    others: f64,
}

impl Times {
    fn all(&self) -> f64 {
        self.numbering + self.others
    }
}

/// The steps of [`db::Settler::settle`].
async fn settle(client: &Client, hour: Hour, users: usize) -> anyhow::Result<Times> {
    let began = Instant::now();
    client.batch_execute(&format!("call analytics.refresh_hour('{hour}')")).await?;
    let refreshed = Instant::now();
    let number = format!("select numbers, names from analytics.number_visitors('{hour}', array[0], false)");
    let row = client.query_one(&number, &[]).await?;
    let mut numbers: Vec<i32> = row.get(0);
    ensure!(numbers.len() == users, "{} visitors are numbered instead of {users}", numbers.len());
    numbers.sort_unstable();
    let set: RoaringBitmap = numbers.into_iter().map(i32::cast_unsigned).collect();
    let set = bytes_of(&set)?;
    let numbered = Instant::now();
    let settle =
        format!("select is_settled from analytics.settle('{hour}', array[0], array[$1::bytea], array[$2::bigint])");
    let is_settled: bool = client.query_one(&settle, &[&set, &row.get::<_, i64>(1)]).await?.get(0);
    ensure!(is_settled, "{hour} is not settled");
    let of = |from: Instant, to: Instant| millis(to - from);
    Ok(Times { numbering: of(refreshed, numbered), others: of(began, refreshed) + millis(numbered.elapsed()) })
}

/// The names of visitors who are in the dictionary.
pub(super) fn known(month: Month, drawn: RoaringBitmap) -> Vec<String> {
    drawn.into_iter().map(|number| month.name(number)).collect()
}

fn unknown(month: Month, hour: Hour, drawn: RoaringBitmap) -> Vec<String> {
    drawn.into_iter().map(|number| format!("{}-{hour}", month.name(number))).collect()
}

/// Stores so many events of each visitor of an hour.
pub(super) async fn fill(store: &Store, hour: Hour, events_of_each: usize, names: &[String]) -> anyhow::Result<()> {
    let mut writer = Writer::new(store.clone());
    let at = hour.start();
    for _ in 0..events_of_each {
        for names in names.chunks(MAX_BATCH_EVENTS) {
            let event =
                |name: &String| anyhow::Ok(Event { at, user: UserName::new(name.clone())?, kind: EventKind::Click });
            let events =
                names.iter().map(|name| event(name).map(SiteEvent::nameless)).collect::<Result<Vec<_>, _>>()?;
            match writer.ingest(&events).await? {
                Ingested::Stored => {}
                blocked => bail!("{hour} cannot be filled: {blocked:?}"),
            }
        }
    }
    writer.retire().await?;
    Ok(())
}
