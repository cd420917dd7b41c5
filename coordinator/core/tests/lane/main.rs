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

mod commits;
#[path = "../common/mod.rs"]
mod common;
mod troubles;

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
