//! A database that takes no writes, hangs or refuses for good, and a process that stood still.

use super::Case;

#[test]
fn callers_do_not_wait_for_a_database_that_takes_no_writes() {
    Case::run(
        "push 1 2@1~ 3! 4!
         apply 1 2 3
         NotApplied =>
         flows
         gives up =>
         later 5
         stalled
         gives up => 4=NotApplied 1=NotApplied 3=NotApplied
         gives up =>
         push 5 6! 7!
         gives up => 7=NotApplied 5=NotApplied 6=NotApplied
         apply 2
         ok => 2=Durable
         flows
         empty",
    );
}

#[test]
fn a_write_in_doubt_stays_though_callers_no_longer_wait() {
    Case::run(
        "push 1 2! 3!
         apply 1 2
         Unknown =>
         later 5
         gives up => 1=Unanswered 2=Unanswered 3=NotApplied
         gives up =>
         apply 1 2
         Moved =>
         stalled
         gives up =>
         read 1:1:9 - => 1=Exists(1)
         stalled
         apply 2
         ok => 2=Durable
         flows
         empty",
    );
}

#[test]
fn callers_do_not_wait_for_a_commit_that_hangs() {
    Case::run(
        "push 1 2!
         apply 1 2
         push 3 4! 5@1~
         later 4
         flows
         gives up =>
         later 1
         stalled
         gives up => 1=Unanswered 2=Unanswered 4=NotApplied 3=NotApplied
         gives up =>
         ok => 1=Durable 2=Durable
         flows
         apply 5",
    );
}

#[test]
fn a_trouble_that_nothing_shows_any_more_is_over() {
    // Nothing is left to be tried.
    Case::run(
        "push 1@1
         apply 1
         NotApplied =>
         apply 1
         Moved =>
         read 1:5 => 1=Moved
         later 60
         flows",
    );
    // Callers were given up, and a write elsewhere was applied.
    Case::run(
        "push 1
         apply 1
         NotApplied =>
         later 5
         gives up => 1=NotApplied
         empty
         later 60
         stalled
         writes
         flows",
    );
}

/// A disk with room for a renewal of the lease, and for no commit.
#[test]
fn small_writes_elsewhere_do_not_prove_that_commits_are_applied() {
    Case::run(
        "push 1
         apply 1
         NotApplied =>
         later 5
         gives up => 1=NotApplied
         writes
         trial
         push 2
         apply 2
         NotApplied =>
         stalled
         gives up => 2=NotApplied
         writes
         later 4
         writes
         trial
         later 1
         writes
         well
         push 3
         apply 3
         NotApplied =>
         later 5
         gives up => 3=NotApplied
         writes
         later 9
         writes
         trial
         later 1
         writes
         well
         push 4
         apply 4
         ok => 4=Durable
         push 5
         apply 5
         NotApplied =>
         later 5
         gives up => 5=NotApplied
         writes
         trial
         later 5
         writes
         well
         push 6
         apply 6
         NotApplied =>
         later 5
         gives up => 6=NotApplied
         writes
         trial
         push 7
         apply 7
         ok => 7=Durable
         well",
    );
}

#[test]
fn a_database_that_refuses_for_good_stalls_at_once_and_is_hopeless_in_the_end() {
    Case::run(
        "push 1 2@1~
         apply 1 2
         Fatal =>
         stalled
         gives up => 1=NotApplied
         later 29
         apply 2
         Fatal =>
         later 1
         hopeless
         apply 2
         NotApplied =>
         stalled",
    );
    // A write elsewhere lets commits be tried again, and is no proof.
    Case::run(
        "push 1
         apply 1
         Fatal =>
         gives up => 1=NotApplied
         later 20
         writes
         flows
         push 2
         apply 2
         Fatal =>
         stalled
         gives up => 2=NotApplied
         later 10
         hopeless
         writes
         flows
         later 5
         writes
         push 3
         apply 3
         Fatal =>
         stalled
         later 29
         gives up => 3=NotApplied",
    );
    // A failure that may pass in between: not every write failed for good.
    Case::run(
        "push 2@1~
         apply 2
         Fatal =>
         later 20
         apply 2
         NotApplied =>
         apply 2
         Fatal =>
         later 20
         stalled
         apply 2
         ok => 2=Durable
         flows",
    );
}

/// A process that was stopped, or got no processor, is not a database that is silent.
#[test]
fn a_standstill_of_the_process_is_not_the_databases_silence() {
    // The commit is under way.
    Case::run(
        "push 1
         apply 1
         later 1
         still 7
         flows
         gives up =>
         later 3
         gives up =>
         later 1
         stalled
         gives up => 1=Unanswered",
    );
    // It failed, and is to be tried again.
    Case::run(
        "push 1
         apply 1
         later 4
         NotApplied =>
         still 60
         flows
         gives up =>
         later 1
         gives up => 1=NotApplied",
    );
    // Every commit fails for good: the process has stood still for most of that time.
    Case::run(
        "push 1~
         apply 1
         Fatal =>
         still 40
         apply 1
         Fatal =>
         stalled
         later 29
         apply 1
         Fatal =>
         later 1
         hopeless",
    );
    // Commits are on trial, and none is tried meanwhile.
    Case::run(
        "push 1
         apply 1
         NotApplied =>
         later 5
         gives up => 1=NotApplied
         writes
         trial
         still 7
         writes
         trial
         later 5
         writes
         well",
    );
}
