//! The writes that make one commit, and the results of each.

use super::Case;

#[test]
fn writes_that_gathered_become_the_next_commit_sorted_by_id() {
    Case::run(
        "push 3 1
         apply 1 3
         push 2
         waits
         ok => 1=Durable 3=Durable
         apply 2",
    );
}

#[test]
fn a_write_that_no_caller_waits_for_lingers_for_company() {
    Case::run(
        "push 1@1~
         waits
         apply 1
         pause 5",
    );
    Case::run(
        "push 1@1~
         waits
         push 2
         apply 1 2
         pause 0",
    );
}

#[test]
fn writes_that_callers_wait_for_go_before_a_backlog_that_keeps_a_share() {
    Case::run(
        "batch 8
         push 1@1~ 2@1~
         apply 1 2
         push 3@1~ 4@1~ 5@1~
         push 1 2 6 7 8 9
         ok => 1=Durable 2=Durable
         apply 1 2 3 4 6 7 8 9",
    );
    Case::run(
        "batch 4
         push 1@1~
         push 2 3 4 5 6
         push 7@1~ 8@1~
         apply 1 2 3 4
         ok => 1=Durable 2=Durable 3=Durable 4=Durable
         apply 5 6 7 8",
    );
    Case::run(
        "batch 1
         push 1@1~
         apply 1
         later 1
         push 2@1~
         later 1
         push 3
         later 1
         push 4@1~
         ok => 1=Durable
         apply 2
         ok => 2=Durable
         apply 3
         ok => 3=Durable
         apply 4",
    );
}

#[test]
fn a_write_that_moved_is_answered_and_the_rest_applied() {
    Case::run(
        "push 1@4 2@4 3
         apply 1 2 3
         Moved =>
         read 1:5 2:4 3:1 => 1=Moved 3=Exists(3)
         apply 2
         ok => 2=Durable
         empty",
    );
}

#[test]
fn a_taken_business_names_the_transaction_that_has_it() {
    Case::run(
        "push 1
         apply 1
         Moved =>
         read 7:3 => 1=Exists(7)",
    );
}

#[test]
fn an_unknown_commit_that_was_applied_is_found_to_be() {
    Case::run(
        "push 1@4 2@4
         apply 1 2
         Unknown =>
         apply 1 2
         Moved =>
         read 1:5 2:5 => 1=Durable 2=Durable",
    );
}

/// It may be the row of an earlier begin with the same id, of which calls have left since.
#[test]
fn the_row_of_a_begin_in_doubt_is_read() {
    Case::run(
        "push 1
         apply 1
         Unknown =>
         apply 1
         Moved =>
         read 1:1:9 => 1=Exists(1)
         empty",
    );
}

#[test]
fn a_row_of_another_incarnation_is_not_ours() {
    Case::run(
        "push 1@4
         apply 1
         Unknown =>
         apply 1
         Moved =>
         read 1:5:2 => 1=Moved",
    );
}

#[test]
fn without_doubt_the_same_version_is_another_writers() {
    Case::run(
        "push 1@4
         apply 1
         Moved =>
         read 1:5 => 1=Moved",
    );
}

#[test]
fn a_begin_in_doubt_is_given_up_at_its_deadline() {
    Case::run(
        "push 1 2@1
         apply 1 2
         Unknown =>
         apply 1 2
         Moved =>
         later 31
         read - 2:3 => 1=Lost 2=Moved",
    );
}

#[test]
fn a_refused_value_is_found_by_halving() {
    Case::run(
        "push 1 2 3 4
         apply 1 2 3 4
         Content =>
         apply 1 2
         ok => 1=Durable 2=Durable
         apply 3 4
         Content =>
         apply 3
         Content => 3=Refused
         apply 4
         ok => 4=Durable
         empty",
    );
}

#[test]
fn a_commit_that_was_not_applied_is_applied_again_after_a_pause() {
    let pauses = [0, 10, 20, 40, 80, 160, 320, 640, 1_000];
    let steps = pauses.map(|pause| format!("apply 1\npause {pause}\nNotApplied =>\n"));
    Case::run(&format!(
        "push 1\n{}apply 1\nok => 1=Durable",
        steps.concat()
    ));
}

#[test]
fn begins_of_one_business_take_one_commit() {
    Case::run(
        "push 1! 2! 3
         apply 1 3
         push 4!
         ok => 1=Durable 3=Durable 2=Exists(1) 4=Exists(1)
         empty",
    );
    Case::run(
        "push 1! 2! 3!
         apply 1
         Moved =>
         read 7:3 => 1=Exists(7) 2=Exists(7) 3=Exists(7)
         empty",
    );
}

#[test]
fn where_the_first_of_a_business_is_not_begun_the_next_one_is() {
    Case::run(
        "push 1! 2! 3!
         apply 1
         Content => 1=Refused
         apply 2
         ok => 2=Durable 3=Exists(2)
         empty",
    );
    // The id of the first exists already, which says nothing about the business.
    Case::run(
        "push 1! 2!
         apply 1
         Moved =>
         read 1:3 => 1=Exists(1)
         apply 2
         ok => 2=Durable
         empty",
    );
}
