//! Ways in which a run ends before its time.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, sleep, timeout},
};

use crate::{
    checks::{gates::Gates, outlook::why_hopeless},
    logging,
    traffic::Traffic,
};

/// How often it is looked whether the run can still pass.
const LOOK_AHEAD: Duration = Duration::from_secs(1);
/// How often it is looked whether requests are still in flight, and how long at most.
const IN_FLIGHT: Duration = Duration::from_millis(20);
const LONGEST_REQUEST: Duration = Duration::from_mins(1);

/// Ends a run that cannot pass any more, if it is to be ended then.
pub(super) async fn if_hopeless(traffic: Arc<Traffic>, gates: Gates) {
    if !gates.abort_on_fail {
        return;
    }
    let mut ticks = interval(LOOK_AHEAD);
    loop {
        ticks.tick().await;
        let plan = traffic.schedule.planned();
        let why = why_hopeless(&gates, &traffic.recorder.lock(), &plan);
        if let Some(why) = why {
            let why = format!("it cannot pass any more: {why}");
            logging::message(&format!("the run ends early, since {why}"));
            traffic.schedule.end_early(why);
            return end(&traffic).await;
        }
    }
}

/// Waits until all users are there, and requests are made.
pub(super) async fn until_begun(traffic: &Traffic) {
    while !traffic.schedule.has_ended() && traffic.schedule.elapsed().is_zero() {
        sleep(IN_FLIGHT).await;
    }
}

/// Waits for the requests in flight, and returns whether all finished in that time.
pub(super) async fn all_finished(traffic: &Traffic, patience: Duration) -> bool {
    let finished = async {
        while traffic.schedule.in_flight() > 0 {
            sleep(IN_FLIGHT).await;
        }
    };
    timeout(patience, finished).await.is_ok()
}

/// Lets the requests in flight finish, and ends the run.
pub(super) async fn end(traffic: &Traffic) {
    traffic.schedule.end();
    all_finished(traffic, LONGEST_REQUEST).await;
    goose::trigger_killswitch("the run is over");
}

/// Ends the run by SIGTERM, by which a service manager and CI end a program, and by Ctrl-C, which goose looks after.
pub(super) async fn by_a_signal(traffic: Arc<Traffic>) {
    let interrupted = async {
        while !goose::is_killswitch_triggered() {
            sleep(IN_FLIGHT).await;
        }
    };
    tokio::select! {
        () = terminated() => (),
        () = interrupted => (),
    }
    traffic.schedule.end_early("a signal ended it".to_owned());
    // Goose forgets it if it was about to begin.
    loop {
        end(&traffic).await;
        sleep(LOOK_AHEAD).await;
    }
}

/// Returns at SIGTERM.
pub(super) async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}
