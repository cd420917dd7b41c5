//! The properties of every store, tested through the trait. A database brings a [`Database`] and one line of
//! [`conformance!`](crate::conformance); nothing here names one.

pub mod due;
pub mod fixture;
pub mod generate;
pub mod lists;
pub mod nodes;
pub mod reads;
pub mod writes;

use async_trait::async_trait;
use tercet_core::id::TxId;
use tercet_store::Store;

/// The columns of a row of `tx_due` but for its transaction.
pub type DueCells = (String, String, String, String, i64);

/// An empty database of one test.
#[async_trait]
pub trait Database: Send + Sync + Sized {
    /// Makes one.
    async fn empty() -> Self;

    /// The store on it.
    fn store(&self) -> &dyn Store;

    /// Closes the store and opens it again, as a later process would.
    async fn restart(&mut self);

    /// Changes rows behind the store's back.
    async fn tamper(&self, sql: &str);

    /// Reads the rows of `tx_due` of a transaction, in the order of the key.
    async fn due_rows(&self, id: TxId) -> Vec<DueCells>;

    /// The id as the database's SQL writes it.
    fn literal(id: TxId) -> String;
}

/// Makes a test of each property for one [`Database`].
#[macro_export]
macro_rules! conformance {
    ($database:ty) => {
        $crate::conformance! { @tests $database;
            writes: {
                a_begin_is_all_there,
                an_empty_batch_is_nothing,
                an_id_is_begun_once,
                a_unique_business_is_begun_once,
                businesses_that_run_into_each_other_are_told_apart,
                a_change_holds_once,
                a_change_of_nothing_has_moved,
                one_moved_write_undoes_its_batch,
                actions_follow_their_transaction,
                an_action_is_added_once,
                an_action_of_another_version_is_named,
                a_write_that_skips_a_version_is_refused,
                a_batch_of_everything_holds,
                a_large_batch_holds,
                operators_commands_are_kept,
                a_dropped_call_leaves_nothing_half_done,
                racing_changes_have_one_winner,
            }
            reads: {
                whatever_is_written_is_read_back,
                the_largest_transaction_is_read_back,
                loading_finds_what_exists,
                names_compare_as_bytes,
                standing_tells_the_last_write,
                the_newest_of_a_business_is_found,
                illegal_rows_are_named,
                rows_with_every_default_applied_are_those_without,
                readers_see_whole_commits,
                a_restart_keeps_everything,
            }
            due: {
                due_rows_follow_the_state,
                due_rows_follow_any_history,
                a_due_row_that_is_missing_is_named,
                a_due_row_that_is_there_is_named,
                due_rows_come_in_order,
                due_rows_are_those_of_one_queue,
                due_rows_go_on_after_a_cursor,
                queues_come_in_order_with_their_first_row,
                queues_of_a_participant_are_its_own,
                queues_go_on_after_a_cursor,
                rows_of_unknown_queues_are_passed_over,
            }
            lists: {
                a_list_is_newest_first,
                a_list_goes_on_after_a_cursor,
                a_list_is_bounded,
                a_list_filters,
                a_list_shows_calls_that_fail,
                a_list_names_illegal_rows,
            }
            nodes: {
                epochs_rise,
                a_lease_is_renewed_until_a_later_start,
                an_ended_lease_is_over,
                participants_are_replaced,
                unreadable_participants_are_named,
                a_paused_participant_stays_paused,
                versions_of_participants_are_counted,
            }
        }
    };
    (@tests $database:ty; $($module:ident: { $($test:ident,)* })*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let mut database = <$database as $crate::conformance::Database>::empty().await;
                $crate::conformance::$module::$test(&mut database).await;
            }
        )*)*
    };
}
