//! The barrier's table as cells: what is sent, what must be answered, what must have changed.

use tercet_sdk::{Mode, Operation};

/// One call that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A Try with the good request.
    Try,
    /// A Try with the request that is to be rejected.
    TryRejected,
    /// A Confirm.
    Confirm,
    /// A Cancel.
    Cancel,
}

impl Step {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Try | Self::TryRejected => Operation::Try,
            Self::Confirm => Operation::Confirm,
            Self::Cancel => Operation::Cancel,
        }
    }
}

/// What must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// Done, with the same result as the first Try.
    FirstResult,
    /// Rejected.
    Rejected,
}

/// How the participant's business must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// As if nothing had been asked.
    Initial,
    /// As after one Try.
    Tried,
    /// As after one Confirm.
    Confirmed,
}

/// How the last step is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// Once.
    Once(Step),
    /// Several times at the same moment.
    Racing(Step),
    /// A Try and a Cancel at the same moment, then a late Try.
    TryRacingCancel,
}

/// One cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) before: &'static [Step],
    pub(crate) last: Last,
    pub(crate) answer: Answer,
    pub(crate) stand: Stand,
}

impl Cell {
    fn sends(&self, wanted: impl Fn(Step) -> bool) -> bool {
        let last = match self.last {
            Last::Once(step) | Last::Racing(step) => wanted(step),
            Last::TryRacingCancel => wanted(Step::Try) || wanted(Step::Cancel),
        };
        last || self.before.iter().any(|step| wanted(*step))
    }

    fn is_of(&self, mode: Mode) -> bool {
        match mode {
            Mode::Tcc => true,
            Mode::Compensate => !self.sends(|step| step == Step::Confirm),
            Mode::Deliver => false,
        }
    }
}

const fn once(
    name: &'static str,
    before: &'static [Step],
    step: Step,
    answer: Answer,
    stand: Stand,
) -> Cell {
    Cell {
        name,
        before,
        last: Last::Once(step),
        answer,
        stand,
    }
}

const fn racing(
    name: &'static str,
    before: &'static [Step],
    last: Last,
    answer: Answer,
    stand: Stand,
) -> Cell {
    Cell {
        name,
        before,
        last,
        answer,
        stand,
    }
}

/// The cells of a mode; those that need a rejected request only `with_rejected`.
pub(crate) fn cells(mode: Mode, with_rejected: bool) -> Vec<Cell> {
    if mode == Mode::Deliver {
        return DELIVER.to_vec();
    }
    let all = WITH_TRY.iter().filter(|cell| cell.is_of(mode));
    all.filter(|cell| with_rejected || !cell.sends(|step| step == Step::TryRejected))
        .copied()
        .collect()
}

use Answer::{Done, FirstResult, Rejected};
use Stand::{Confirmed, Initial, Tried};
use Step::{Cancel, Confirm, Try, TryRejected};

#[rustfmt::skip]
const WITH_TRY: [Cell; 20] = [
    once("TRY on no row", &[], Try, Done, Tried),
    once("TRY on TRIED (a repetition)", &[Try], Try, FirstResult, Tried),
    once("TRY on CONFIRMED", &[Try, Confirm], Try, FirstResult, Confirmed),
    once("TRY on CANCELLED", &[Try, Cancel], Try, Rejected, Initial),
    once("TRY after an empty CANCEL (a late Try)", &[Cancel], Try, Rejected, Initial),
    once("TRY on REJECTED", &[TryRejected], Try, Rejected, Initial),
    once("CONFIRM on no row", &[], Confirm, Rejected, Initial),
    once("CONFIRM on TRIED", &[Try], Confirm, Done, Confirmed),
    once("CONFIRM on CONFIRMED (a repetition)", &[Try, Confirm], Confirm, Done, Confirmed),
    once("CONFIRM on CANCELLED", &[Try, Cancel], Confirm, Rejected, Initial),
    once("CONFIRM on REJECTED", &[TryRejected], Confirm, Rejected, Initial),
    once("CANCEL on no row (an empty cancel)", &[], Cancel, Done, Initial),
    once("CANCEL on TRIED", &[Try], Cancel, Done, Initial),
    once("CANCEL on CONFIRMED", &[Try, Confirm], Cancel, Rejected, Confirmed),
    once("CANCEL on CANCELLED (a repetition)", &[Try, Cancel], Cancel, Done, Initial),
    once("CANCEL on REJECTED", &[TryRejected], Cancel, Done, Initial),
    racing("TRY racing TRY", &[], Last::Racing(Try), FirstResult, Tried),
    racing("CONFIRM racing CONFIRM", &[Try], Last::Racing(Confirm), Done, Confirmed),
    racing("CANCEL racing CANCEL", &[Try], Last::Racing(Cancel), Done, Initial),
    racing("TRY racing CANCEL", &[], Last::TryRacingCancel, Rejected, Initial),
];

#[rustfmt::skip]
const DELIVER: [Cell; 3] = [
    once("CONFIRM on no row", &[], Confirm, Done, Confirmed),
    once("CONFIRM on CONFIRMED (a repetition)", &[Confirm], Confirm, Done, Confirmed),
    racing("CONFIRM racing CONFIRM", &[], Last::Racing(Confirm), Done, Confirmed),
];
