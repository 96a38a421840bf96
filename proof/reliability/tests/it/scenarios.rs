use reliability::scenarios::{
    backend_killed, clock_jumps, commit_fates, connections_killed, daemon_clocks, daemon_frozen, daemon_killed,
    daemon_stopped, database_crashed, database_frozen, database_hangs, disk_full, false_errors, host_name_moves,
    network_faults, outage_spooled, overload, pages_damaged, patroni_failover, pgpool_kills, power_lost,
    primary_read_only, replicas, shard_killed, shard_moved, shard_partitioned, shard_restored, shard_spooled,
    shards_of_one_server, shards_replicas, shards_with_daemons_killed, sites, slot_left_behind, snapshot_held,
    spool_disk_fails, standby_lagged, standby_promoted, syncs_failing, syncs_slow, tables_repacked,
    timescaledb_upgraded,
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
    a_synchronous_standby_takes_over_without_a_loss_and_the_old_primary_is_left_alone: standby_promoted,
    what_a_promoted_standby_lacks_is_all_that_is_lost_and_is_noticed: standby_lagged,
    a_primary_that_turns_read_only_refuses_events_until_a_server_takes_writes: primary_read_only,
    a_cluster_that_fails_over_by_itself_loses_nothing: patroni_failover,
    the_daemon_outlives_the_kill_of_a_session_and_loses_nothing_in_it: backend_killed,
    a_daemon_that_stands_still_goes_on_and_nothing_is_stored_twice: daemon_frozen,
    a_database_that_stands_still_stores_nothing_afterwards_that_was_refused: database_frozen,
    clocks_of_daemons_that_move_back_and_forth_change_no_count: daemon_clocks,
    packets_that_are_lost_in_one_direction_leave_no_doubt_about_a_commit: network_faults,
    a_host_whose_name_moves_is_followed: host_name_moves,
    what_was_answered_survives_the_loss_of_power: power_lost,
    a_database_that_is_slow_to_sync_holds_up_writes_and_no_reads: syncs_slow,
    a_database_that_fails_to_sync_recovers_and_loses_nothing: syncs_failing,
    a_spool_whose_disk_failed_promises_only_what_the_disk_holds: spool_disk_fails,
    a_page_whose_checksum_is_wrong_fails_only_what_needs_it: pages_damaged,
    a_snapshot_held_under_load_changes_no_answer: snapshot_held,
    tables_repacked_under_load_lose_nothing: tables_repacked,
    an_upgrade_of_timescaledb_under_load_loses_nothing: timescaledb_upgraded,
    a_slot_left_behind_costs_nothing_within_its_limit_and_no_event_without: slot_left_behind,
    what_is_taken_while_the_database_is_away_is_stored_exactly_once: outage_spooled,
    a_crowd_is_served_soon_or_refused_at_once_and_leaves_nothing_behind: overload,
    sites_that_come_and_go_count_nothing_of_one_another: sites,
    a_shard_whose_server_is_killed_refuses_its_visitors_and_nobody_elses: shard_killed,
    a_shard_that_moves_loses_nothing_and_its_copies_store_nothing: shard_moved,
    a_shard_that_cannot_be_reached_refuses_its_visitors_and_nobody_elses: shard_partitioned,
    a_shard_that_is_restored_loses_what_it_stored_later_and_sources_are_read_again: shard_restored,
    what_is_taken_while_a_shard_is_away_is_stored_exactly_once_in_it: shard_spooled,
    shards_of_a_server_that_is_killed_lose_nothing: shards_of_one_server,
    what_shards_acknowledged_survives_kills_of_the_daemon: shards_with_daemons_killed,
    replicas_of_several_shards_answer_as_one_counter_would: shards_replicas,
    replicas_answer_as_one_counter_would_and_another_settles_when_the_settler_dies: replicas,
}

#[cfg(feature = "kafka")]
mod of_topics {
    use reliability::scenarios::{broker_frozen, broker_killed, daemons_rebalanced, database_restored, offsets_reset};

    use crate::support::options;

    every_promise_is_kept! {
        each_message_counts_once_when_its_broker_is_killed: broker_killed,
        each_message_counts_once_when_its_broker_stands_still: broker_frozen,
        each_message_counts_once_whichever_daemon_reads_it: daemons_rebalanced,
        each_message_counts_once_whatever_the_group_says_was_read: offsets_reset,
        each_message_counts_once_in_a_database_restored_to_an_earlier_state: database_restored,
    }
}
