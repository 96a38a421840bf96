//! Settling: whether somebody does it, and the hours that wait for it.

use db::Settling;

use super::finding::Finding;

pub(super) const SETTLER: &str = "settler";
pub(super) const OPEN_HOURS: &str = "open hours";

pub(super) fn judge_settler(settling: &Settling) -> Finding {
    if settling.has_settler {
        return Finding::ok(SETTLER, "a daemon settles the hours of this database");
    }
    let seen = "no daemon settles the hours of this database";
    Finding::warning(SETTLER, seen, "start analyticsd on it; whichever is first settles, a second after its start")
}

pub(super) fn judge_open_hours(settling: &Settling) -> Finding {
    let Settling { has_settler, waiting, oldest, overdue, contradictory } = settling;
    let oldest = oldest.map(|hour| hour.to_string()).unwrap_or_default();
    if *contradictory > 0 {
        let seen = format!("{contradictory} hours are open and settled at once, and cannot be read");
        return Finding::problem(OPEN_HOURS, seen, "run `analytics-cli verify --repair`");
    }
    if *waiting == 0 {
        return Finding::ok(OPEN_HOURS, "none waits to be settled");
    }
    let seen = format!("{waiting} ended hours wait to be settled, the oldest {oldest}");
    if *overdue == 0 {
        return Finding::ok(OPEN_HOURS, seen);
    }
    let seen = format!("{seen}; {overdue} of them had no event for an hour");
    let advice = if *has_settler {
        format!(
            "look again in a minute; if they still wait, `analytics-cli verify --from {oldest} --to -2h` tells whether their \
             counters differ from their raw events, and the log of analyticsd why they stay open"
        )
    } else {
        "start analyticsd, which settles them".to_owned()
    };
    Finding::warning(OPEN_HOURS, seen, advice)
}

#[cfg(test)]
mod tests {
    use db::Settling;
    use model::{Hour, Timestamp};

    use super::{judge_open_hours, judge_settler};
    use crate::doctor::finding::Health;

    #[test]
    fn hours_that_wait_are_judged_by_how_long_nobody_wrote_to_them() {
        let oldest = Some(Hour::containing(Timestamp::from_millis(0).unwrap()));
        let none = Settling { has_settler: true, waiting: 0, oldest: None, overdue: 0, contradictory: 0 };
        for (settling, health, advice) in [
            (none.clone(), Health::Ok, ""),
            (Settling { waiting: 2, oldest, ..none.clone() }, Health::Ok, ""),
            (
                Settling { waiting: 2, oldest, overdue: 1, ..none.clone() },
                Health::Warning,
                "verify --from 1970-01-01T00:00:00Z",
            ),
            (
                Settling { has_settler: false, waiting: 2, oldest, overdue: 1, ..none.clone() },
                Health::Warning,
                "start analyticsd",
            ),
            (Settling { contradictory: 1, ..none.clone() }, Health::Problem, "verify --repair"),
        ] {
            let finding = judge_open_hours(&settling);
            assert_eq!(finding.health, health, "{settling:?}");
            assert!(finding.advice.unwrap_or_default().contains(advice), "{settling:?}");
        }
        assert_eq!(judge_settler(&none).health, Health::Ok);
        assert_eq!(judge_settler(&Settling { has_settler: false, ..none }).health, Health::Warning);
    }
}
