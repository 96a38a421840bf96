//! Unique users of a settled month beside what others do, what is kept for it, and what settling costs.
//!
//! Each number of visitors has a database and a daemon of its own. Every answer of the daemon must be what a brute-force
//! count says.

use std::time::{Duration, Instant};

use anyhow::ensure;
use db::{Flavour, Store, schema};
use futures_util::future::try_join_all;
use model::wire::{HOURS_PATH, PERIODS_PATH};
use tokio_postgres::Client;

use super::{Findings, Stage, settling};
use crate::{
    cpu::Meter,
    database::store_options,
    figure::Figure,
    fill::past_hour,
    measure::{Axis, Contender, Latency, Measurement, Sample, Subject},
    month::{DAYS, Drawn, HOURS, Month, bounds, unite_days},
    plan::Part,
    servers::Server,
    table,
};

const COUNT_DISTINCT: &str =
    "select count(distinct user_name) from textbook.events where at >= $1::timestamptz and at < $2::timestamptz";
const UNITE_SKETCHES: &str = "select round(hll_cardinality(hll_union_agg(sketch)))::bigint from textbook.sketches \
     where hour >= $1::timestamptz and hour < $2::timestamptz";

const HAS_SKETCHES: &str = "select exists (select from pg_available_extensions where name = 'hll') \
     and (select rolsuper from pg_roles where rolname = current_user)";
const SKETCHES: &str = "create extension hll; create table textbook.sketches (hour timestamptz, sketch hll)";

const BYTES: &str = "select \
     (select sum(octet_length(visitors))::float8 / sum(unique_users) from analytics.settled_hours), \
     (select sum(octet_length(visitors))::float8 / sum(analytics.set_cardinality(visitors)) from analytics.day_visitors), \
     (select pg_total_relation_size('analytics.visitors')::float8 / count(*) from analytics.visitors)";

/// Of the questions that are asked at the same time.
const CLIENTS: u32 = 4;

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let mut found = Findings::default();
    for &visitors in &stage.plan.sizes.visitors {
        let of_month = measure_month(stage, Month { visitors }).await?;
        found.measurements.extend(of_month.measurements);
        found.figures.extend(of_month.figures);
    }
    Ok(found)
}

async fn measure_month(stage: &Stage<'_>, month: Month) -> anyhow::Result<Findings> {
    let url = stage.database.make_beside(&format!("month_of_{}", month.visitors)).await?;
    let store = Store::new(&url, store_options())?;
    schema::migrate(&store, None).await?;
    let client = store.plain_client().await?;
    table::make(&client, Flavour::Postgres).await?;
    let has_sketches: bool = client.query_one(HAS_SKETCHES, &[]).await?.get(0);
    if has_sketches {
        client.batch_execute(SKETCHES).await?;
    }

    eprintln!("filling a month, {} visitors an hour", month.visitors);
    month.fill_dictionary(&client).await?;
    let drawn = month.fill_hours(&client, has_sketches).await?;
    let mut figures = Figures { month, all: Vec::new() };
    let uniting = Instant::now();
    unite_days(&store).await?;
    figures.add("uniting a day", "ms", millis(uniting.elapsed()) / f64::from(DAYS));
    let bytes = client.query_one(BYTES, &[]).await?;
    figures.add("set of an hour, each visitor", "bytes", bytes.get(0));
    figures.add("union of a day, each visitor", "bytes", bytes.get(1));
    figures.add("dictionary, each visitor", "bytes", bytes.get(2));
    figures.all.extend(settling::measure(stage, month, &store, &client).await?);
    settling::fill(&store, past_hour(HOURS), 1, &settling::known(month, month.draw(HOURS))).await?;
    client.batch_execute("vacuum analyze").await?;

    let daemon = stage.programs.daemon(&url).await?;
    let asker = Asker { stage, client: &client, daemon: &daemon, month };
    figures.extend_memory("at its start", &daemon);
    let mut measurements = asker.measure(&one_at_a_time(&drawn, has_sketches)).await?;
    figures.extend_memory("after one range at a time", &daemon);
    measurements.extend(asker.measure(&[days("days, 4 at a time", CLIENTS, DAYS, drawn.month)]).await?);
    figures.extend_memory("after 4 ranges at a time", &daemon);

    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    let wrong = |answer: u64| 100.0 * (answer as f64 - drawn.month as f64) / drawn.month as f64;
    figures.add("30 days, counts of its hours added up: too many by", "%", wrong(drawn.sum_of_hours));
    if has_sketches {
        let sketched = asker.sql(UNITE_SKETCHES, HOURS).await?;
        figures.add("30 days, HyperLogLog: off by", "%", wrong(sketched).abs());
    }
    Ok(Findings { measurements, figures: figures.all, ..Findings::default() })
}

struct Figures {
    month: Month,
    all: Vec<Figure>,
}

impl Figures {
    fn add(&mut self, name: &str, unit: &str, value: f64) {
        self.all.push(Figure::new(Part::Ranges, named(name, self.month), unit, vec![value]));
    }

    fn extend_memory(&mut self, when: &str, daemon: &Server) {
        if let Some(mib) = daemon.peak_memory_mib() {
            self.add(&format!("most memory of analyticsd {when}"), "MiB", mib);
        }
    }
}

/// As a subject is displayed.
pub(super) fn named(what: &str, month: Month) -> String {
    subject(what, month).to_string()
}

fn subject(what: &str, month: Month) -> Subject {
    Subject::new(Part::Ranges, what, Axis::Visitors, month.visitors)
}

pub(super) fn millis(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}

/// What so many clients ask, each the next time after its answer.
struct Question {
    what: &'static str,
    contender: Contender,
    clients: u32,
    asked: Asked,
}

enum Asked {
    /// A path, which must be answered so.
    Get(String, u64),
    /// A statement about the first hours of the month.
    Sql(&'static str, u32),
}

fn one_at_a_time(drawn: &Drawn, has_sketches: bool) -> Vec<Question> {
    let get = |what, hours, users| {
        let asked = Asked::Get(format!("{HOURS_PATH}?{}", range(hours)), users);
        Question { what, contender: Contender::Daemon, clients: 1, asked }
    };
    let sql = |what, contender, statement, hours| Question {
        what,
        contender,
        clients: 1,
        asked: Asked::Sql(statement, hours),
    };
    let mut questions = vec![
        get("hours of 30 days", HOURS, drawn.month),
        days("days of 30 days", 1, DAYS, drawn.month),
        get("hours of 30 days and an open hour", HOURS + 1, drawn.month_and_open_hour),
        days("one day", 1, 1, drawn.day),
        sql("one day", Contender::Textbook, COUNT_DISTINCT, 24),
    ];
    if has_sketches {
        questions.push(sql("hours of 30 days", Contender::Sketches, UNITE_SKETCHES, HOURS));
    }
    questions
}

fn days(what: &'static str, clients: u32, days: u32, users: u64) -> Question {
    let asked = Asked::Get(format!("{PERIODS_PATH}?step=day&{}", range(24 * days)), users);
    Question { what, contender: Contender::Daemon, clients, asked }
}

/// The first hours of the month.
fn range(hours: u32) -> String {
    format!("from={}&to={}", past_hour(0), past_hour(hours - 1))
}

struct Asker<'a> {
    stage: &'a Stage<'a>,
    client: &'a Client,
    daemon: &'a Server,
    month: Month,
}

impl Asker<'_> {
    /// Asks everything in every round.
    async fn measure(&self, questions: &[Question]) -> anyhow::Result<Vec<Measurement>> {
        let of = |question: &Question| Measurement {
            subject: subject(question.what, self.month),
            contender: question.contender,
            connections: question.clients,
            rounds: Vec::new(),
        };
        let mut measurements: Vec<Measurement> = questions.iter().map(of).collect();
        let rounds = self.stage.plan.rounds;
        for round in 1..=rounds {
            for (question, measurement) in questions.iter().zip(&mut measurements) {
                eprintln!("round {round} of {rounds}: {}, {}", measurement.subject, measurement.contender);
                measurement.rounds.push(self.load(question).await?);
            }
        }
        Ok(measurements)
    }

    async fn load(&self, question: &Question) -> anyhow::Result<Sample> {
        let meter = Meter::new(self.daemon.pid().into_iter().collect(), self.stage.instruments.postmaster);
        let length = Duration::from_secs(self.stage.plan.seconds.into());
        let before = meter.read();
        let began = Instant::now();
        let times = try_join_all((0..question.clients).map(async |_| {
            let mut times = Vec::new();
            while times.is_empty() || began.elapsed() < length {
                let asked = Instant::now();
                self.ask(&question.asked).await?;
                times.push(millis(asked.elapsed()));
            }
            anyhow::Ok(times)
        }));
        let times = times.await?.concat();
        let seconds = began.elapsed().as_secs_f64();
        let after = meter.read();
        let count = u32::try_from(times.len())?;
        Ok(Sample {
            count: count.into(),
            per_second: f64::from(count) / seconds,
            latency: Some(latency(times)),
            cpu: after.zip(before).map(|(after, before)| after.since(before, count.into())),
        })
    }

    async fn ask(&self, asked: &Asked) -> anyhow::Result<()> {
        match asked {
            Asked::Get(path, users) => {
                let answer = self.daemon.unique_users(path).await?;
                ensure!(answer == *users, "{path} is answered {answer}, but there are {users}");
            }
            Asked::Sql(statement, hours) => drop(self.sql(statement, *hours).await?),
        }
        Ok(())
    }

    async fn sql(&self, statement: &str, hours: u32) -> anyhow::Result<u64> {
        let (first, behind) = bounds(hours);
        Ok(u64::try_from(self.client.query_one(statement, &[&first, &behind]).await?.get::<_, i64>(0))?)
    }
}

/// Of at least one time in milliseconds.
fn latency(mut times: Vec<f64>) -> Latency {
    times.sort_by(f64::total_cmp);
    let at = |per_mille: usize| times[(times.len() * per_mille / 1_000).min(times.len() - 1)];
    Latency { p50_ms: at(500), p99_ms: at(990), p999_ms: at(999) }
}

#[cfg(test)]
mod tests {
    use super::{latency, range};
    use crate::month::Month;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let of = |times: &[f64]| {
            let found = latency(times.to_vec());
            (found.p50_ms, found.p99_ms, found.p999_ms)
        };
        assert_eq!(of(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(of(&[3.0, 1.0, 2.0]), (2.0, 3.0, 3.0));
        let thousand: Vec<f64> = (0..1_000).map(f64::from).collect();
        assert_eq!(of(&thousand), (500.0, 990.0, 999.0));
    }

    #[test]
    fn a_range_ends_with_its_last_hour() {
        assert_eq!(range(24), "from=2020-01-01T00:00:00Z&to=2020-01-01T23:00:00Z");
    }

    #[test]
    fn visitors_are_drawn_evenly_and_the_same_each_time() {
        let month = Month { visitors: 1_000 };
        let drawn = month.draw(5);
        assert_eq!(drawn, month.draw(5));
        assert_ne!(drawn, month.draw(6));
        assert!((980..=1_000).contains(&drawn.len()), "{}", drawn.len());
        let lower = drawn.iter().filter(|&number| number < month.population() / 2).count();
        assert!((400..=600).contains(&lower), "{lower}");
        assert!(drawn.iter().all(|number| number < month.population()));
    }
}
