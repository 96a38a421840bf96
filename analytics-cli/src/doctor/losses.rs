//! Checks whether the database lost what it had acknowledged.

use db::{Examination, NotedLosses, StoreError};

use super::finding::Finding;

pub(super) const LOSSES: &str = "losses";

/// `failed` judges a query that failed.
pub(super) async fn look(examination: &Examination, failed: impl Fn(&'static str, &StoreError) -> Finding) -> Finding {
    examination.losses().await.map_or_else(|error| failed(LOSSES, &error), |losses| judge(&losses))
}

fn judge(losses: &NotedLosses) -> Finding {
    let NotedLosses { batches, events, last_noticed_at: Some(at) } = losses else {
        return Finding::ok(
            LOSSES,
            "in the last seven days, no daemon missed events that the database had acknowledged",
        );
    };
    Finding::problem(
        LOSSES,
        format!("daemons missed {events} acknowledged events of {batches} commits, last at {}", at.to_rfc3339()),
        "did a standby that lagged behind take over, or was a backup restored? See AnalyticsEventsLost in docs/operate/alerts.md",
    )
}

#[cfg(test)]
mod tests {
    use db::NotedLosses;

    use super::{super::finding::Health, judge};

    #[test]
    fn what_was_lost_is_a_problem_and_says_how_much() {
        let at = "2026-05-17T10:00:00Z".parse().unwrap();
        let finding = judge(&NotedLosses { batches: 2, events: 7, last_noticed_at: Some(at) });
        assert_eq!(finding.health, Health::Problem);
        assert!(finding.seen.contains("7 acknowledged events of 2 commits"), "{}", finding.seen);
        assert_eq!(judge(&NotedLosses { batches: 0, events: 0, last_noticed_at: None }).health, Health::Ok);
    }
}
