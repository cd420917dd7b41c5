//! Named cases of the lane: which writes make one commit, and what its result means for each.
//!
//! A case is a script, one step per line; [`Case::run`] makes the steps in turn.
//!
//! | step | meaning |
//! |---|---|
//! | `batch N` | a lane whose commits take so many writes |
//! | `push W…` | these writes come in |
//! | `waits` | the lane has no command yet |
//! | `apply N…` | its next command, when it is due, applies the writes of these transactions |
//! | `R => D…` | that command ends with `R` (`ok` or an [`ApplyFailure`]); these writes are done |
//! | `read S… => D…` | its next command reads the rows in the way, and finds `S`; these writes are done |
//! | `pause MS` | so many milliseconds passed before the last command was due |
//! | `later S` | `S` seconds pass |
//! | `still S` | the process stands still for `S` seconds |
//! | `stalled`, `hopeless`, `flows` | the database takes no writes; and never will; it takes them |
//! | `trial`, `well` | commits are tried again after a trouble; there is none |
//! | `gives up => D…` | callers no longer wait for these writes |
//! | `writes` | a write outside of the lane was applied |
//! | `empty` | the lane has nothing left to do |
//!
//! `W` is a write: `2` begins transaction 2, `2@4` changes transaction 2 where it has version 4. `~` after
//! it: no caller waits for it; `!`: its business is unique, and the same for all such writes.
//! `S` is a row: `2:5` is transaction 2 with version 5, last written by this very write; `2:5:9` by
//! another; `-` is no row. `D` is a write that is done: its transaction, `=`, and its [`WriteResult`].

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{START, at, new_transaction, owner, tcc, tx_id};
use tercet_core::{
    id::TxId,
    lane::{Lane, LaneCommand, LaneConfig, LaneResult},
    model::{Decider, Transaction},
    time::Moment,
    write::{ApplyFailure, DueChange, Fence, Head, Standing, StandingRow, Write, WriteResult},
};

fn write(word: &str) -> Write {
    let (word, lazy) = (word.trim_end_matches('~'), word.ends_with('~'));
    let (word, unique) = (word.trim_end_matches('!'), word.ends_with('!'));
    let (number, version) = match word.split_once('@') {
        Some((number, version)) => (number, Some(version.parse().unwrap())),
        None => (word, None),
    };
    let number = number.parse().unwrap();
    let mut new = new_transaction(number, Decider::Initiator, [tcc("a")]);
    if unique {
        new.unique_business = true;
        new.business_id = "the same".into();
    }
    let tx = Transaction::begin(&new, owner(1), at(START));
    let fence = version.map_or_else(|| Fence::Absent(tx.spec.clone()), Fence::Version);
    Write {
        id: tx_id(number),
        fence,
        head: Head {
            phase: tx.phase,
            check_backs: 0,
            last_check_back: None,
            version: version.map_or(1, |version| version + 1),
            owner: owner(1),
            rest: None,
            write_id: 1,
        },
        actions: Vec::new(),
        due: DueChange::default(),
        operator: None,
        urgent: !lazy,
    }
}

fn standing(word: &str) -> Standing {
    let mut parts = word.split(':').filter_map(|part| part.parse().ok());
    let row = parts.next().map(|number| StandingRow {
        id: tx_id(number),
        version: u32::try_from(parts.next().unwrap()).unwrap(),
        write_id: parts.next().map_or(1, |id| id.try_into().unwrap()),
    });
    Standing { row }
}

fn result(word: &str) -> Result<(), ApplyFailure> {
    Err(match word {
        "ok" => return Ok(()),
        "Moved" => ApplyFailure::Moved,
        "NotApplied" => ApplyFailure::NotApplied,
        "Unknown" => ApplyFailure::Unknown,
        "Content" => ApplyFailure::Content,
        "Fatal" => ApplyFailure::Fatal,
        other => panic!("no step: {other}"),
    })
}

fn number(id: TxId) -> u64 {
    (1..10).find(|number| tx_id(*number) == id).unwrap()
}

fn numbers(writes: &Arc<Vec<Write>>) -> String {
    let numbers = writes.iter().map(|write| number(write.id).to_string());
    numbers.collect::<Vec<_>>().join(" ")
}

fn done(results: Vec<(TxId, WriteResult)>) -> String {
    let words = results.into_iter().map(|(id, result)| match result {
        WriteResult::Exists(other) => format!("{}=Exists({})", number(id), number(other)),
        result => format!("{}={result:?}", number(id)),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A lane in the middle of a script.
struct Case {
    lane: Lane,
    now: Moment,
    pause: Duration,
}

impl Case {
    fn run(script: &str) {
        let mut case = Self {
            lane: Lane::new(LaneConfig::default()),
            now: at(START).moment,
            pause: Duration::ZERO,
        };
        for step in script
            .lines()
            .map(str::trim)
            .filter(|step| !step.is_empty())
        {
            case.step(step);
        }
    }

    fn step(&mut self, step: &str) {
        let (command, expected) = step.split_once("=>").unwrap_or((step, ""));
        let (word, rest) = command
            .trim()
            .split_once(' ')
            .unwrap_or((command.trim(), ""));
        let expected = expected.trim();
        match word {
            "batch" => {
                self.lane = Lane::new(LaneConfig {
                    batch: rest.parse().unwrap(),
                    ..LaneConfig::default()
                });
            }
            "push" => {
                for word in rest.split_whitespace() {
                    self.lane.push(self.now, write(word));
                }
            }
            "waits" => assert_eq!(self.lane.next(self.now), None, "{step}"),
            "apply" => match self.due() {
                Some(LaneCommand::Apply(writes)) => assert_eq!(numbers(&writes), rest, "{step}"),
                other => panic!("{step}: {other:?}"),
            },
            "read" => {
                assert!(
                    matches!(self.due(), Some(LaneCommand::Standing(_))),
                    "{step}"
                );
                let rows = rest.split_whitespace().map(standing).collect();
                let results = self.lane.done(self.now, LaneResult::Standing(Ok(rows)));
                assert_eq!(done(results), expected, "{step}");
            }
            "pause" => assert_eq!(self.pause.as_millis().to_string(), rest, "{step}"),
            "later" => self.now = self.now + Duration::from_secs(rest.parse().unwrap()),
            "still" => {
                let by = Duration::from_secs(rest.parse().unwrap());
                self.now = self.now + by;
                self.lane.stood_still(by);
            }
            "empty" => assert!(self.lane.is_empty(), "{step}"),
            "stalled" => assert!(self.lane.is_stalled(self.now), "{step}"),
            "hopeless" => assert!(self.lane.is_hopeless(self.now), "{step}"),
            "flows" => {
                assert!(!self.lane.is_stalled(self.now), "{step}");
                assert!(!self.lane.is_hopeless(self.now), "{step}");
            }
            "trial" => {
                assert!(!self.lane.is_stalled(self.now), "{step}");
                assert!(self.lane.is_on_trial(), "{step}");
            }
            "well" => {
                assert!(!self.lane.is_stalled(self.now), "{step}");
                assert!(!self.lane.is_on_trial(), "{step}");
            }
            "gives" => assert_eq!(done(self.lane.give_up(self.now)), expected, "{step}"),
            "writes" => self.lane.database_writes(self.now),
            _ => {
                let results = self.lane.done(self.now, LaneResult::Applied(result(word)));
                assert_eq!(done(results), expected, "{step}");
            }
        }
    }

    /// Lets time pass until the next command is due, and takes it.
    fn due(&mut self) -> Option<LaneCommand> {
        let before = self.now;
        self.now = self.lane.next_wakeup().unwrap().max(before);
        self.pause = self.now.since(before);
        self.lane.next(self.now)
    }
}

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
