use reliability::scenarios::{
    clock_jumps, commit_fates, connections_killed, daemon_killed, daemon_stopped, database_crashed, database_hangs,
    disk_full, false_errors, outage_spooled, overload, pgpool_kills, replicas,
};

use crate::support::options;

/// Makes a test of each scenario.
macro_rules! every_promise_is_kept {
    ($($sentence:ident: $scenario:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $sentence() {
            let options = options();
            $scenario::run(&options).await.unwrap().assert_kept(options.seed);
        })+
    };
}

every_promise_is_kept! {
    what_was_acknowledged_survives_kills_of_the_daemon_and_what_was_refused_is_not_stored: daemon_killed,
    a_daemon_that_is_asked_to_stop_under_load_answers_all_that_it_stores: daemon_stopped,
    the_daemon_outlives_crashes_of_the_database_and_loses_nothing_in_them: database_crashed,
    a_connection_that_dies_during_a_commit_leaves_no_doubt_about_it: commit_fates,
    an_error_that_a_proxy_makes_up_is_taken_for_no_proof_of_anything: false_errors,
    a_database_that_hangs_holds_nobody_up_for_long_and_stores_nothing_afterwards: database_hangs,
    connections_ended_at_random_lose_nothing: connections_killed,
    connections_ended_behind_pgpool_lose_nothing: pgpool_kills,
    clocks_that_are_years_off_are_counted_where_they_say: clock_jumps,
    a_full_disk_refuses_events_and_loses_none_and_space_given_back_is_used: disk_full,
    what_is_taken_while_the_database_is_away_is_stored_exactly_once: outage_spooled,
    a_crowd_is_served_soon_or_refused_at_once_and_leaves_nothing_behind: overload,
    replicas_answer_as_one_counter_would_and_another_settles_when_the_settler_dies: replicas,
}
