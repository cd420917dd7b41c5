//! The faults of a simulated world, one entry per fault.

use super::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $share:literal;)*) => {
        /// A fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name that people read.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns how many of 10,000 occasions it strikes on, in ordinary weather.
            fn share(self) -> u64 {
                match self { $(Self::$name => $share,)* }
            }
        }
    };
}

faults! {
    /// A message is lost.
    MessageLost = "message lost", 150;
    /// A message arrives twice.
    MessageRepeated = "message repeated", 150;
    /// A message arrives seconds later, behind others, perhaps after a restart.
    MessageLate = "message late", 200;
    /// The connection to a participant takes a call only seconds later: the participant does not read it.
    CallUntaken = "call not taken for seconds", 200;
    /// A participant sends an old result from its buffer on its present stream.
    StaleResult = "old result on another stream", 300;
    /// A stream breaks.
    StreamBroken = "stream broken", 30;
    /// A participant stops taking new calls on a stream.
    StreamDraining = "stream draining", 20;
    /// A commit fails and its error is definite.
    CommitNotApplied = "commit not applied", 200;
    /// A commit fails and its error leaves the outcome open.
    CommitLostBefore = "commit lost, not applied", 120;
    /// A commit is applied and its error leaves the outcome open.
    CommitLostAfter = "commit lost, applied", 120;
    /// A commit is given up and applied later, perhaps after the death of its sender.
    CommitLate = "commit lands late", 120;
    /// A commit is given up while its session holds its locks; the session ends later, applied or rolled back.
    CommitHangs = "commit hangs with its locks", 80;
    /// A commit takes seconds.
    CommitStalls = "commit stalls", 80;
    /// The database takes no writes for seconds: commits fail, and some that are given up are applied later.
    DatabaseOutage = "database takes no writes", 8;
    /// A read fails.
    ReadFailed = "read failed", 200;
    /// The result of a read arrives seconds later.
    ReadStalls = "read stalls", 100;
    /// The coordinator dies and loses its memory.
    CoordinatorCrash = "coordinator crash", 6;
    /// The coordinator stands still for seconds.
    CoordinatorPause = "coordinator pause", 5;
    /// A participant dies; its open local transactions roll back.
    ServiceCrash = "participant crash", 25;
    /// A participant dies after its commit, before it answers.
    ServiceCrashAfterCommit = "participant crash after its commit", 50;
    /// A participant stands still for seconds.
    ServiceHangs = "participant hangs", 30;
    /// A participant's code fails with an error other than a rejection.
    CodeFails = "participant's code fails", 250;
    /// A participant without the SDK answers ABORTED for a conflict of its own.
    SpuriousAborted = "ABORTED for a conflict", 300;
    /// An initiator dies for good.
    InitiatorDies = "initiator dies", 100;
    /// An initiator is silent for seconds before its next step.
    InitiatorHangs = "initiator hangs", 400;
    /// An initiator repeats a request.
    InitiatorRepeats = "initiator repeats", 300;
    /// An initiator gives up waiting and closes its connection.
    CallerLeaves = "caller leaves", 100;
    /// A stream ends with the first call that it takes.
    StreamFlaps = "stream flaps", 0;
    /// A participant is gone for long, or for good.
    ServiceAway = "participant away", 0;
    /// A participant changes from streams to an address, or back.
    ServiceMoves = "participant moves", 0;
    /// The database's clock jumps ahead or back.
    ClockJumps = "database's clock jumps", 0;
    /// The database reads its clock seconds before the coordinator hears of it, or after it was asked.
    ClockReadLate = "clock read late", 1_000;
    /// Time jumps ahead for every process.
    TimeJump = "time jump", 4;
}

/// Decides which faults strike, and counts them.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Whether faults may strike; false in the healing phase.
    pub on: bool,
    dice: Dice,
    weather: Vec<u64>,
    counts: Vec<u64>,
}

impl Faults {
    /// Makes the faults of one seed. Each seed has a weather of its own, in which some faults never strike
    /// and others often.
    pub fn new(mut dice: Dice) -> Self {
        let weather = Fault::ALL
            .iter()
            .map(|fault| fault.share() * *dice.pick(&[0, 1, 1, 1, 2, 4]))
            .collect();
        Self {
            on: true,
            dice,
            weather,
            counts: vec![0; Fault::ALL.len()],
        }
    }

    /// Returns whether `fault` strikes on this occasion.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        if !self.on || self.dice.below(10_000) >= self.weather[fault as usize] {
            return false;
        }
        self.counts[fault as usize] += 1;
        true
    }

    /// Counts a fault that was not left to chance.
    pub fn count(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// Returns how often each fault has struck, in the order of [`Fault::ALL`].
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}
