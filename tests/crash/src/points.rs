//! The fail points, in one table. A test compares it with the sources.

use std::fmt;

use clap::ValueEnum;

use crate::cast::Role;

/// The mode of an exchange of points for a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Exchange {
    /// Execute with two TCC actions.
    Tcc,
    /// Execute with two COMPENSATE actions, one after the other.
    Compensate,
    /// Begin with two DELIVER actions and a check-back; the initiator commits its own row and decides.
    Deliver,
    /// Begin, `AddAction`, and Tries that the initiator calls itself; it commits its own row and decides.
    Led,
}

impl Exchange {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Tcc, Self::Compensate, Self::Deliver, Self::Led];

    /// Returns its name on the command line and in the matrix.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcc => "tcc",
            Self::Compensate => "compensate",
            Self::Deliver => "deliver",
            Self::Led => "led",
        }
    }

    /// Returns whether the initiator begins and decides, and keeps a row of its own.
    pub fn is_led(self) -> bool {
        matches!(self, Self::Deliver | Self::Led)
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One place in the code where a process can be killed or stopped, or a thread can hang.
#[derive(Clone, Copy, Debug)]
pub struct FailPoint {
    /// Its name in the code.
    pub name: &'static str,
    /// The process that reaches it.
    pub role: Role,
    /// The modes in which it is reached.
    pub modes: &'static [Exchange],
    /// The number of times that it must be reached until it hits.
    pub at: u64,
    /// Its place, for people.
    pub place: &'static str,
}

const EXECUTED: &[Exchange] = &[Exchange::Tcc, Exchange::Compensate];
const LED: &[Exchange] = &[Exchange::Deliver, Exchange::Led];
const ADDED: &[Exchange] = &[Exchange::Led];

const fn point(
    name: &'static str,
    role: Role,
    modes: &'static [Exchange],
    at: u64,
    place: &'static str,
) -> FailPoint {
    FailPoint {
        name,
        role,
        modes,
        at,
        place,
    }
}

/// Every fail point.
pub const POINTS: &[FailPoint] = &[
    point(
        "coordinator.begin.received",
        Role::Coordinator,
        &Exchange::ALL,
        5,
        "a Begin or Execute was read",
    ),
    point(
        "coordinator.add_action.received",
        Role::Coordinator,
        ADDED,
        5,
        "an AddAction was read",
    ),
    point(
        "coordinator.decide.received",
        Role::Coordinator,
        LED,
        5,
        "a Decide was read",
    ),
    point(
        "coordinator.commit.before",
        Role::Coordinator,
        &Exchange::ALL,
        7,
        "before a commit",
    ),
    point(
        "store.commit.before",
        Role::Coordinator,
        &Exchange::ALL,
        7,
        "all writes of a commit are made, before its COMMIT",
    ),
    point(
        "coordinator.commit.after",
        Role::Coordinator,
        &Exchange::ALL,
        7,
        "after a commit, before its effects are released",
    ),
    point(
        "coordinator.call.before",
        Role::Coordinator,
        &Exchange::ALL,
        5,
        "before calls are handed to a participant's stream",
    ),
    point(
        "coordinator.call.after",
        Role::Coordinator,
        &Exchange::ALL,
        5,
        "after that",
    ),
    point(
        "coordinator.result.received",
        Role::Coordinator,
        &Exchange::ALL,
        5,
        "results were read from a participant's stream",
    ),
    point(
        "coordinator.reply.before",
        Role::Coordinator,
        &Exchange::ALL,
        3,
        "before replies are handed to an initiator's session",
    ),
    point(
        "coordinator.reply.after",
        Role::Coordinator,
        &Exchange::ALL,
        3,
        "after that",
    ),
    point(
        "coordinator.check_back.before",
        Role::Coordinator,
        LED,
        1,
        "before an initiator is asked back",
    ),
    point(
        "participant.call.received",
        Role::Points,
        &Exchange::ALL,
        5,
        "calls were read from the stream",
    ),
    point(
        "barrier.insert.before",
        Role::Points,
        &Exchange::ALL,
        9,
        "in the local transaction, before the barrier's row",
    ),
    point(
        "barrier.commit.before",
        Role::Points,
        &Exchange::ALL,
        9,
        "row and effect are written, before the local commit",
    ),
    point(
        "barrier.commit.after",
        Role::Points,
        &Exchange::ALL,
        9,
        "after the local commit, before the result is sent",
    ),
    point(
        "participant.result.before",
        Role::Points,
        &Exchange::ALL,
        5,
        "before results are sent",
    ),
    point(
        "participant.result.after",
        Role::Points,
        &Exchange::ALL,
        5,
        "after that",
    ),
    point(
        "initiator.execute.before",
        Role::Initiator,
        EXECUTED,
        5,
        "before an Execute is sent",
    ),
    point(
        "initiator.execute.after",
        Role::Initiator,
        EXECUTED,
        5,
        "after its answer",
    ),
    point(
        "initiator.begin.before",
        Role::Initiator,
        LED,
        5,
        "before a Begin is sent",
    ),
    point(
        "initiator.begin.after",
        Role::Initiator,
        LED,
        5,
        "after its answer",
    ),
    point(
        "initiator.add_action.before",
        Role::Initiator,
        ADDED,
        5,
        "before an AddAction is sent",
    ),
    point(
        "initiator.add_action.after",
        Role::Initiator,
        ADDED,
        5,
        "after its answer",
    ),
    point(
        "initiator.local_commit.before",
        Role::Initiator,
        LED,
        3,
        "before its own local commit",
    ),
    point(
        "initiator.local_commit.after",
        Role::Initiator,
        LED,
        3,
        "between its own local commit and Decide",
    ),
    point(
        "initiator.decide.before",
        Role::Initiator,
        LED,
        3,
        "before a Decide is sent",
    ),
    point(
        "initiator.decide.after",
        Role::Initiator,
        LED,
        3,
        "after its answer",
    ),
    point(
        "initiator.check_back.before",
        Role::Initiator,
        LED,
        1,
        "before the local commit of a check-back's answer",
    ),
    point(
        "initiator.check_back.after",
        Role::Initiator,
        LED,
        1,
        "after it, before the answer is sent",
    ),
];
