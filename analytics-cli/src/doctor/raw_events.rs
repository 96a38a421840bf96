//! Checks whether raw events are deleted only as the retention setting says, and whether some are missing.

use chrono::{DateTime, SecondsFormat, Utc};
use db::{ClosedHours, Due, Examination, ForeignJob, StoreError};

use super::finding::Finding;
use crate::output::hour_of_site;

const RETENTION: &str = "retention";
const CLOSED_HOURS: &str = "closed hours";
const FOREIGN_JOBS: &str = "foreign jobs";

pub(super) const ALL: [&str; 3] = [RETENTION, CLOSED_HOURS, FOREIGN_JOBS];

/// `failed` judges a query that failed.
pub(super) async fn look(
    examination: &Examination,
    failed: impl Fn(&'static str, &StoreError) -> Finding,
) -> [Finding; 3] {
    [
        examination.due().await.map_or_else(|error| failed(RETENTION, &error), |due| judge_retention(&due)),
        examination.closed_hours().await.map_or_else(|error| failed(CLOSED_HOURS, &error), |it| judge_closed(&it)),
        examination.foreign_jobs().await.map_or_else(|error| failed(FOREIGN_JOBS, &error), |it| judge_jobs(&it)),
    ]
}

pub(crate) fn judge_retention(due: &Due) -> Finding {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    if let Some(from) = due.in_the_future() {
        return Finding::problem(
            RETENTION,
            format!("current events are refused: a wrong clock moved the oldest accepted time to {}", time(from)),
            "once all clocks are right, run `analytics-cli retention confirm` to undo this",
        );
    }
    let Some(wanted) = due.unconfirmed() else {
        return Finding::ok(RETENTION, "raw events are deleted as the setting says");
    };
    let before = due
        .before
        .map_or_else(|| "nothing so far".to_owned(), |before| format!("so far those before {}", time(before)));
    Finding::warning(
        RETENTION,
        format!("raw events before {} are due for deletion, {before}: more than two days at once", time(wanted)),
        "they are deleted once you run `analytics-cli retention confirm`",
    )
}

fn judge_closed(ClosedHours { count, first }: &ClosedHours) -> Finding {
    if *count == 0 {
        return Finding::ok(CLOSED_HOURS, "every settled hour has the raw events that a late event needs");
    }
    let named: Vec<String> = first.iter().map(|(hour, site)| hour_of_site(*hour, site)).collect();
    let has_sites = first.iter().any(|(_, site)| !site.is_empty());
    let of_site = if has_sites { " (with `--site SITE` for an hour of a site)" } else { "" };
    let more = count.saturating_sub(first.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Finding::problem(
        CLOSED_HOURS,
        format!(
            "{count} settled hours accept no events, because some of their raw events are missing: {}{more}",
            named.join(", ")
        ),
        format!(
            "find out what deleted them; restore them from a backup and run `analytics-cli verify --repair`, or accept the loss with \
             `analytics-cli verify --repair --accept-loss HOUR`{of_site}. Until then the counts do not change"
        ),
    )
}

fn judge_jobs(jobs: &[ForeignJob]) -> Finding {
    if jobs.is_empty() {
        return Finding::ok(FOREIGN_JOBS, "only the daemon works on the tables of events");
    }
    let named: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    let named = named.join(", ");
    if jobs.iter().any(|job| job.deletes) {
        Finding::problem(
            FOREIGN_JOBS,
            format!("jobs other than the daemon's may delete raw events or refresh their aggregate: {named}"),
            "remove them, and set how long raw events are kept with `analytics-cli retention set --keep AGE`",
        )
    } else {
        Finding::warning(
            FOREIGN_JOBS,
            format!("jobs other than the daemon's refresh the aggregate: {named}"),
            "remove them: the daemon refreshes each hour when it settles it",
        )
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use db::{ClosedHours, Due, ForeignJob};
    use model::{Hour, Timestamp};

    use super::{judge_closed, judge_jobs, judge_retention};
    use crate::doctor::finding::Health;

    #[test]
    fn a_bound_in_the_future_is_a_problem_and_an_unconfirmed_deletion_a_warning() {
        let now: DateTime<Utc> = "2026-11-28T10:00:00Z".parse().unwrap();
        let day = |ago| Some(now - TimeDelta::days(ago));
        let due = Due { before: day(31), wanted: day(30), accepts_from: day(31), latest_clock: now };
        for (due, health, text) in [
            (due, Health::Ok, ""),
            (Due { before: None, wanted: None, accepts_from: None, ..due }, Health::Ok, ""),
            (Due { before: day(40), accepts_from: day(40), ..due }, Health::Warning, "retention confirm"),
            (Due { before: None, accepts_from: None, ..due }, Health::Warning, "retention confirm"),
            (Due { accepts_from: day(-470), ..due }, Health::Problem, "2028-03-12T10:00:00Z"),
        ] {
            let finding = judge_retention(&due);
            assert_eq!(finding.health, health, "{due:?}");
            let line = format!("{}; {}", finding.seen, finding.advice.unwrap_or_default());
            assert!(line.contains(text), "{line}");
        }
    }

    #[test]
    fn hours_that_accept_no_events_are_named() {
        let hour = Hour::containing(Timestamp::from_millis(1_431_856_800_000).unwrap());
        assert_eq!(judge_closed(&ClosedHours { count: 0, first: vec![] }).health, Health::Ok);
        let finding = judge_closed(&ClosedHours { count: 12, first: vec![(hour, String::new())] });
        assert_eq!(finding.health, Health::Problem);
        assert!(finding.seen.ends_with("2015-05-17T10:00:00Z, and 11 more"), "{}", finding.seen);
    }

    #[test]
    fn a_job_that_deletes_is_worse_than_one_that_refreshes() {
        let job = |deletes| ForeignJob { name: "policy 1".to_owned(), deletes };
        assert_eq!(judge_jobs(&[]).health, Health::Ok);
        assert_eq!(judge_jobs(&[job(false)]).health, Health::Warning);
        assert_eq!(judge_jobs(&[job(false), job(true)]).health, Health::Problem);
    }
}
