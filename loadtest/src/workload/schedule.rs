//! Tells each user when to make its next request.

use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::plan::{Side, Step};

/// Of so many requests that were due, one may be missing.
const MOST_MISSING: u64 = 100;

/// How long goose takes to start all users.
const LAUNCH: Duration = Duration::from_secs(1);

/// How long a user with nothing to do rests before it asks again.
const REST: Duration = Duration::from_millis(50);

/// Requests of a step are numbered from its place times this.
const NUMBERS_OF_A_STEP: u64 = 1 << 40;

/// A plan that goes on. Steps may be added while it does.
#[derive(Debug)]
pub(crate) struct Schedule {
    launch: Duration,
    start: OnceLock<Instant>,
    steps: RwLock<Vec<Arc<Running>>>,
    /// From when on no request begins, whatever the plan says.
    ended: CancellationToken,
    ended_at: OnceLock<Instant>,
    ended_early: OnceLock<String>,
}

#[derive(Debug)]
struct Running {
    step: Step,
    /// After the start.
    begins: Duration,
    /// The next number of a request that nobody has taken.
    next: AtomicU64,
    begun: AtomicU64,
    finished: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Make(Due),
    /// There is nothing to do before this time.
    Rest(Instant),
}

/// A request to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The place of its step in the plan.
    pub(crate) step: usize,
    pub(crate) side: Side,
    /// None if its user decides when it is made.
    pub(crate) number: Option<u64>,
    /// In the future, or past if it is late.
    pub(crate) at: Instant,
}

/// A step as far as it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    #[serde(flatten)]
    pub(crate) step: Step,
    pub(crate) lasted_seconds: f64,
    /// None if its users decided when they made requests.
    pub(crate) due: Option<u64>,
    pub(crate) begun: u64,
}

/// A step that has begun, while the plan goes on.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) done: Done,
    /// How much of it is to come.
    pub(crate) left: Duration,
    /// How long ago it ended.
    pub(crate) over_for: Duration,
    /// Requests that were begun and are not finished.
    pub(crate) in_flight: u64,
}

impl Done {
    /// Whether nearly all that were due were begun. Of a step that was cut short those of a second count.
    pub(crate) fn is_offered(&self) -> bool {
        self.due.is_none_or(|due| {
            let missing = due.saturating_sub(self.begun);
            missing * MOST_MISSING <= due.max(self.step.due_before(Duration::from_secs(1)))
        })
    }

    /// Adds the same step of another generator. False if it is another one.
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        self.lasted_seconds = self.lasted_seconds.max(other.lasted_seconds);
        self.due = self.due.zip(other.due).map(|(one, other)| one.saturating_add(other));
        self.begun = self.begun.saturating_add(other.begun);
        self.step.lasts == other.step.lasts && self.step.load.add(&other.step.load)
    }

    pub(crate) fn lasted(&self) -> Duration {
        Duration::try_from_secs_f64(self.lasted_seconds).unwrap_or_default()
    }
}

impl Schedule {
    pub(crate) fn new(plan: Vec<Step>) -> Self {
        // Where requests are due at certain times, they are due when all users are there: a request that is late
        // because users are missing says nothing about the server.
        let is_steady = !plan.is_empty() && plan.iter().all(Step::is_steady);
        let launch = if is_steady { Duration::ZERO } else { LAUNCH };
        let schedule = Self {
            launch,
            start: OnceLock::new(),
            steps: RwLock::default(),
            ended: CancellationToken::new(),
            ended_at: OnceLock::new(),
            ended_early: OnceLock::new(),
        };
        for step in plan {
            schedule.add(step);
        }
        schedule
    }

    /// How long after the first user the plan begins.
    pub(crate) fn launch(&self) -> Duration {
        self.launch
    }

    /// Zero before the run begins. It stops when the run ends.
    pub(crate) fn elapsed(&self) -> Duration {
        let until = self.ended_at.get().copied().unwrap_or_else(Instant::now);
        self.start.get().map(|start| until.duration_since(*start)).unwrap_or_default()
    }

    /// Adds a step that begins when the last one ends, or now. Returns its place.
    pub(crate) fn add(&self, step: Step) -> usize {
        let now = self.elapsed();
        let mut steps = self.steps.write().unwrap_or_else(PoisonError::into_inner);
        let begins = steps.last().map(|last| last.ends()).unwrap_or_default().max(now);
        steps.push(Arc::new(Running {
            step,
            begins,
            next: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }));
        steps.len() - 1
    }

    /// What this user, counted from 0, is to do next. What a step could not make before its end is never made.
    pub(crate) fn turn(&self, user: usize) -> Turn {
        let start = *self.start.get_or_init(|| Instant::now() + self.launch);
        let now = start.elapsed();
        let steps = self.steps.read().unwrap_or_else(PoisonError::into_inner);
        let coming = steps.iter().enumerate().skip_while(|(_, running)| running.ends() <= now);
        for (place, running) in coming.take_while(|_| !self.has_ended()) {
            if running.step.is_open() {
                let number = running.next.fetch_add(1, Ordering::Relaxed);
                if let Some(due) = running.step.due(number) {
                    let number = Some(place as u64 * NUMBERS_OF_A_STEP + number);
                    return Turn::Make(Due {
                        step: place,
                        side: running.step.side,
                        number,
                        at: start + running.begins + due,
                    });
                }
                // All of it is made, so the next one is looked at.
            } else if now < running.begins {
                return Turn::Rest(start + running.begins);
            } else {
                let users = running.step.users(now.saturating_sub(running.begins));
                let may = users.is_some_and(|users| user < users as usize);
                let rest = (now + REST).min(running.ends());
                return if may {
                    Turn::Make(Due { step: place, side: running.step.side, number: None, at: Instant::now() })
                } else {
                    Turn::Rest(start + rest)
                };
            }
        }
        Turn::Rest(Instant::now() + REST)
    }

    /// Counts the request, unless the run has ended meanwhile, so that it must not be made.
    pub(crate) fn begin(&self, step: usize) -> bool {
        let goes_on = !self.has_ended();
        if goes_on {
            self.running(step).begun.fetch_add(1, Ordering::Relaxed);
        }
        goes_on
    }

    pub(crate) fn finish(&self, step: usize) {
        self.running(step).finished.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on, no request begins.
    pub(crate) fn end(&self) {
        let _ = self.ended_at.set(Instant::now());
        self.ended.cancel();
    }

    /// The same before the plan is done, for this reason. Nothing changes if the run has ended already.
    pub(crate) fn end_early(&self, why: String) {
        if !self.has_ended() {
            let _ = self.ended_early.set(why);
            self.end();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    pub(crate) fn ended_early(&self) -> Option<&str> {
        self.ended_early.get().map(String::as_str)
    }

    /// Sleeps until this time, or until the run ends. Then there is nothing to do, so it still sleeps a little.
    pub(crate) async fn sleep_until(&self, time: Instant) {
        if self.has_ended() {
            return sleep(REST).await;
        }
        tokio::select! {
            () = sleep_until(time) => (),
            () = self.ended.cancelled() => (),
        }
    }

    /// How long it is until the end of a step, whether the plan has begun or not.
    pub(crate) fn ends_in(&self, step: usize) -> Duration {
        let ends = self.running(step).ends();
        self.start.get().map_or(ends + self.launch, |&start| (start + ends).duration_since(Instant::now()))
    }

    /// Whether a step makes no more requests.
    pub(crate) fn is_over(&self, step: usize) -> bool {
        self.has_ended() || self.elapsed() >= self.running(step).ends()
    }

    /// Requests that were begun and are not finished.
    pub(crate) fn in_flight(&self) -> u64 {
        self.steps.read().unwrap_or_else(PoisonError::into_inner).iter().map(|running| running.in_flight()).sum()
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.planned().iter().any(|planned| planned.done.begun > 0)
    }

    /// Every step that has begun, as far as it is done.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.planned()
            .into_iter()
            .filter(|planned| planned.done.lasted_seconds > 0.0)
            .map(|planned| planned.done)
            .collect()
    }

    /// Every step.
    pub(crate) fn planned(&self) -> Vec<Planned> {
        let now = self.elapsed();
        let planned = |running: &Arc<Running>| {
            let lasted = now.saturating_sub(running.begins).min(running.step.lasts);
            let done = Done {
                step: running.step.clone(),
                lasted_seconds: lasted.as_secs_f64(),
                due: running.step.is_open().then(|| running.step.due_before(lasted)),
                begun: running.begun.load(Ordering::Relaxed),
            };
            Planned {
                done,
                left: running.step.lasts.saturating_sub(lasted),
                over_for: now.saturating_sub(running.ends()),
                in_flight: running.in_flight(),
            }
        };
        self.steps.read().unwrap_or_else(PoisonError::into_inner).iter().map(planned).collect()
    }

    /// How long the steps last that are planned so far.
    pub(crate) fn lasts(&self) -> Duration {
        self.steps.read().unwrap_or_else(PoisonError::into_inner).last().map(|last| last.ends()).unwrap_or_default()
    }

    fn running(&self, step: usize) -> Arc<Running> {
        Arc::clone(&self.steps.read().unwrap_or_else(PoisonError::into_inner)[step])
    }
}

impl Running {
    fn ends(&self) -> Duration {
        self.begins.saturating_add(self.step.lasts)
    }

    fn in_flight(&self) -> u64 {
        self.begun.load(Ordering::Relaxed).saturating_sub(self.finished.load(Ordering::Relaxed))
    }
}

impl Step {
    /// Whether all users begin with the run.
    fn is_steady(&self) -> bool {
        matches!(self.load, super::plan::Load::Users { from, to } if from == to)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Due, LAUNCH, Schedule, Turn};
    use crate::workload::plan::{Load, Side, Step};

    const MINUTE: Duration = Duration::from_mins(1);

    fn turns(schedule: &Schedule, turns: usize) -> Vec<Option<u64>> {
        let number = |turn| if let Turn::Make(Due { number, .. }) = turn { number } else { None };
        (0..turns).map(|_| number(schedule.turn(0))).collect()
    }

    #[test]
    fn nothing_is_due_before_all_users_are_there() {
        let times = Step { lasts: MINUTE, load: Load::Times { after: vec![Duration::ZERO] }, side: Side::New };
        for step in [Step::of_rate(MINUTE, 4), times] {
            let schedule = Schedule::new(vec![step]);
            assert_eq!(schedule.elapsed(), Duration::ZERO);
            let before = Instant::now();
            let Turn::Make(Due { at, .. }) = schedule.turn(0) else { panic!("the first is due") };
            assert!(at >= before + LAUNCH && schedule.elapsed() < LAUNCH, "{:?}", at - before);
        }
    }

    #[test]
    fn a_user_makes_its_next_request_at_once_if_the_step_is_for_so_many() {
        let schedule = Schedule::new(vec![Step::of_users(MINUTE, 3)]);
        let may: Vec<bool> = (0..5).map(|user| matches!(schedule.turn(user), Turn::Make(_))).collect();
        assert_eq!(may, [true, true, true, false, false]);
    }

    #[test]
    fn steps_follow_each_other_and_after_the_last_there_is_nothing_to_do_until_one_is_added() {
        let second = Duration::from_secs(1);
        let schedule = Schedule::new(vec![Step::of_rate(second, 2), Step::of_rate(second, 1)]);
        let numbers = [Some(0), Some(1), Some(1 << 40), None, None];
        assert_eq!(turns(&schedule, 5), numbers);
        assert_eq!(schedule.add(Step::of_rate(second, 1)), 2);
        assert_eq!(turns(&schedule, 2), [Some(2 << 40), None]);
        assert_eq!(schedule.lasts(), Duration::from_secs(3));
    }

    #[test]
    fn what_a_step_could_not_make_before_its_end_is_not_made() {
        let schedule = Schedule::new(vec![Step::of_rate(Duration::ZERO, 1_000), Step::of_rate(MINUTE, 1)]);
        assert_eq!(turns(&schedule, 1), [Some(1 << 40)]);
    }

    #[test]
    fn a_run_that_has_ended_begins_nothing() {
        let schedule = Schedule::new(vec![Step::of_users(MINUTE, 1)]);
        assert!(schedule.begin(0));
        schedule.end();
        assert!(matches!(schedule.turn(0), Turn::Rest(_)) && !schedule.begin(0));
        assert_eq!((schedule.in_flight(), schedule.planned()[0].done.begun), (1, 1));
        schedule.finish(0);
        assert_eq!(schedule.in_flight(), 0);
    }

    #[test]
    fn a_step_that_made_fewer_than_99_in_100_did_not_offer_its_rate() {
        let done = |begun| super::Done { step: Step::of_rate(MINUTE, 100), lasted_seconds: 1.0, due: Some(100), begun };
        assert!(done(99).is_offered() && !done(98).is_offered());
        assert!(super::Done { due: None, ..done(0) }.is_offered());
    }
}
