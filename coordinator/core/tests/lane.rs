//! Named cases of the lane: what makes one commit, and what its result means for each write.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{START, action, new_transaction, owner, tx_id};
use tercet_core::{
    engine::Settled,
    lane::{Lane, LaneCommand, LaneConfig, LaneResult},
    model::{Driver, Mode, Transaction},
    time::Timestamp,
    write::{ApplyFailure, Fence, Head, Standing, StandingRow, Write},
};

/// The insert of transaction `number`, or a change of the one that has `version`.
fn write(number: u64, version: Option<u32>) -> Write {
    let new = new_transaction(number, Driver::Initiator, vec![action("a", Mode::Tcc)]);
    let tx = Transaction::begin(&new, owner(1), START);
    let fence = version.map_or_else(|| Fence::Absent(tx.spec.clone()), Fence::Version);
    Write {
        id: tx_id(number),
        fence,
        head: Head {
            phase: tx.phase,
            check_backs: 0,
            version: version.map_or(1, |version| version + 1),
            owner: owner(1),
            waiting_for: None,
            next_attempt_at: Some(START),
        },
        actions: Vec::new(),
        operator: None,
        urgent: true,
    }
}

fn row(number: u64, version: u32, epoch: u64) -> Standing {
    Standing {
        row: Some(StandingRow {
            id: tx_id(number),
            version,
            owner: owner(epoch),
        }),
    }
}

struct Bench {
    lane: Lane,
    now: Timestamp,
}

impl Bench {
    fn with(writes: Vec<Write>) -> Self {
        let mut lane = Lane::new(LaneConfig::default(), owner(1));
        for write in writes {
            lane.push(START, write);
        }
        Self { lane, now: START }
    }

    fn apply(&mut self) -> Vec<u64> {
        self.now = self.lane.next_wakeup().unwrap().max(self.now);
        match self.lane.next(self.now) {
            Some(LaneCommand::Apply(writes)) => numbers(&writes),
            other => panic!("{other:?}"),
        }
    }

    fn applied(&mut self, result: Result<(), ApplyFailure>) -> Vec<(u64, Settled)> {
        let settled = self.lane.done(self.now, LaneResult::Applied(result));
        settled
            .into_iter()
            .map(|(id, settled)| (number(id), settled))
            .collect()
    }

    fn standing(&mut self, rows: Vec<Standing>) -> Vec<(u64, Settled)> {
        self.now = self.lane.next_wakeup().unwrap().max(self.now);
        assert!(matches!(
            self.lane.next(self.now),
            Some(LaneCommand::Standing(_))
        ));
        let settled = self.lane.done(self.now, LaneResult::Standing(Ok(rows)));
        settled
            .into_iter()
            .map(|(id, settled)| (number(id), settled))
            .collect()
    }
}

fn number(id: tercet_core::id::TxId) -> u64 {
    (1..10).find(|number| tx_id(*number) == id).unwrap()
}

fn numbers(writes: &Arc<Vec<Write>>) -> Vec<u64> {
    writes.iter().map(|write| number(write.id)).collect()
}

#[test]
fn what_gathered_becomes_the_next_commit_sorted_by_id() {
    let mut bench = Bench::with(vec![write(3, None), write(1, None)]);
    assert_eq!(bench.apply(), [1, 3]);
    bench.lane.push(START, write(2, None));
    assert_eq!(bench.lane.next(START), None, "one commit at a time");
    assert_eq!(
        bench.applied(Ok(())),
        [(1, Settled::Held), (3, Settled::Held)]
    );
    assert_eq!(bench.apply(), [2]);
}

#[test]
fn a_write_that_nobody_waits_for_lingers_for_company() {
    let lazy = Write {
        urgent: false,
        ..write(1, Some(1))
    };
    let mut bench = Bench::with(vec![lazy]);
    assert_eq!(bench.lane.next(START), None);
    assert_eq!(
        bench.lane.next_wakeup(),
        Some(START + Duration::from_millis(5))
    );
    bench.lane.push(START, write(2, None));
    assert_eq!(bench.apply(), [1, 2]);
}

#[test]
fn what_moved_is_answered_and_the_rest_applied() {
    let mut bench = Bench::with(vec![write(1, Some(4)), write(2, Some(4)), write(3, None)]);
    bench.apply();
    assert_eq!(bench.applied(Err(ApplyFailure::Moved)), []);
    let rows = vec![row(1, 5, 1), row(2, 4, 1), row(3, 1, 1)];
    let settled = bench.standing(rows);
    assert_eq!(
        settled,
        [(1, Settled::Moved), (3, Settled::Exists(tx_id(3)))]
    );
    assert_eq!(bench.apply(), [2]);
    assert_eq!(bench.applied(Ok(())), [(2, Settled::Held)]);
    assert!(bench.lane.is_empty());
}

#[test]
fn a_taken_business_names_the_transaction_that_has_it() {
    let mut bench = Bench::with(vec![write(1, None)]);
    bench.apply();
    bench.applied(Err(ApplyFailure::Moved));
    assert_eq!(
        bench.standing(vec![row(7, 3, 1)]),
        [(1, Settled::Exists(tx_id(7)))]
    );
}

#[test]
fn an_unknown_commit_that_had_held_is_found_to_have() {
    let mut bench = Bench::with(vec![write(1, Some(4)), write(2, None)]);
    bench.apply();
    assert_eq!(
        bench.applied(Err(ApplyFailure::Unknown)),
        [],
        "nobody is told anything"
    );
    assert_eq!(bench.apply(), [1, 2], "the same again");
    bench.applied(Err(ApplyFailure::Moved));
    let settled = bench.standing(vec![row(1, 5, 1), row(2, 1, 1)]);
    assert_eq!(settled, [(1, Settled::Held), (2, Settled::Held)]);
}

#[test]
fn a_row_of_another_incarnation_is_not_ours() {
    let mut bench = Bench::with(vec![write(1, Some(4))]);
    bench.apply();
    bench.applied(Err(ApplyFailure::Unknown));
    bench.apply();
    bench.applied(Err(ApplyFailure::Moved));
    assert_eq!(bench.standing(vec![row(1, 5, 2)]), [(1, Settled::Moved)]);
}

#[test]
fn without_doubt_the_same_version_is_somebody_elses() {
    let mut bench = Bench::with(vec![write(1, Some(4))]);
    bench.apply();
    bench.applied(Err(ApplyFailure::Moved));
    assert_eq!(bench.standing(vec![row(1, 5, 1)]), [(1, Settled::Moved)]);
}

#[test]
fn a_begin_in_doubt_is_given_up_at_its_deadline() {
    let mut bench = Bench::with(vec![write(1, None), write(2, Some(1))]);
    bench.apply();
    bench.applied(Err(ApplyFailure::Unknown));
    bench.apply();
    bench.applied(Err(ApplyFailure::Moved));
    bench.now = START + Duration::from_secs(31);
    let settled = bench.standing(vec![Standing { row: None }, row(2, 3, 1)]);
    assert_eq!(settled, [(1, Settled::Lost), (2, Settled::Moved)]);
}

#[test]
fn a_refused_value_is_found_by_halving() {
    let mut bench = Bench::with((1..=4).map(|number| write(number, None)).collect());
    let mut settled = Vec::new();
    while !bench.lane.is_empty() {
        let applied = bench.apply();
        let result = if applied.contains(&3) {
            Err(ApplyFailure::Content)
        } else {
            Ok(())
        };
        settled.extend(bench.applied(result));
    }
    settled.sort_by_key(|(number, _)| *number);
    assert_eq!(
        settled,
        [
            (1, Settled::Held),
            (2, Settled::Held),
            (3, Settled::Refused),
            (4, Settled::Held)
        ]
    );
}

#[test]
fn what_was_not_applied_is_applied_again_after_a_pause() {
    let mut bench = Bench::with(vec![write(1, None)]);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let before = bench.now;
        bench.apply();
        pauses.push(bench.now.since(before).as_millis());
        assert_eq!(bench.applied(Err(ApplyFailure::NotApplied)), []);
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1_000]);
    bench.apply();
    assert_eq!(bench.applied(Ok(())), [(1, Settled::Held)]);
}

#[test]
fn one_business_is_not_begun_twice_in_one_commit() {
    let unique = |number| {
        let mut write = write(number, None);
        if let Fence::Absent(spec) = &mut write.fence {
            let spec = Arc::make_mut(spec);
            spec.unique_business = true;
            spec.business_id = "the same".into();
        }
        write
    };
    let mut bench = Bench::with(vec![unique(1), unique(2), write(3, None)]);
    assert_eq!(bench.apply(), [1, 3]);
    bench.applied(Ok(()));
    assert_eq!(bench.apply(), [2]);
}
