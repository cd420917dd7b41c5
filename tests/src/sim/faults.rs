//! What may go wrong in a simulated world: one entry a fault.

use super::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $share:literal;)*) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What people read.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// In how many of 10,000 occasions it strikes, in ordinary weather.
            fn share(self) -> u64 {
                match self { $(Self::$name => $share,)* }
            }
        }
    };
}

faults! {
    /// A message vanishes.
    MessageLost = "message lost", 150;
    /// A message arrives twice.
    MessageRepeated = "message repeated", 150;
    /// A message arrives seconds later, behind others, perhaps after a restart.
    MessageLate = "message late", 200;
    /// A participant sends an old result from its buffer on its present stream.
    StaleResult = "old result on another stream", 300;
    /// A stream breaks.
    StreamBroken = "stream broken", 30;
    /// A participant stops taking new calls on a stream.
    StreamDraining = "stream draining", 20;
    /// A commit fails and says so.
    CommitNotApplied = "commit not applied", 200;
    /// A commit fails and nobody can say.
    CommitLostBefore = "commit lost, not applied", 120;
    /// A commit holds and nobody can say.
    CommitLostAfter = "commit lost, applied", 120;
    /// A commit is given up and arrives later, perhaps after its sender's death.
    CommitLate = "commit lands late", 120;
    /// A commit is given up while its session holds its locks, and ends later, one way or the other.
    CommitHangs = "commit hangs with its locks", 80;
    /// A commit takes seconds.
    CommitStalls = "commit stalls", 80;
    /// A read fails.
    ReadFailed = "read failed", 200;
    /// What was read arrives seconds later.
    ReadStalls = "read stalls", 100;
    /// The coordinator dies; what it had in memory is lost.
    CoordinatorCrash = "coordinator crash", 6;
    /// The coordinator stands still for seconds.
    CoordinatorPause = "coordinator pause", 5;
    /// A participant dies; its open local transactions roll back.
    ServiceCrash = "participant crash", 25;
    /// A participant dies after its commit, before it answers.
    ServiceCrashAfterCommit = "participant crash after its commit", 50;
    /// A participant stands still for seconds.
    ServiceHangs = "participant hangs", 30;
    /// A participant's code fails with anything but a rejection.
    CodeFails = "participant's code fails", 250;
    /// A participant without the SDK says ABORTED for a conflict of its own.
    SpuriousAborted = "ABORTED for a conflict", 300;
    /// An initiator dies for good.
    InitiatorDies = "initiator dies", 100;
    /// An initiator is silent for seconds before its next step.
    InitiatorHangs = "initiator hangs", 400;
    /// An initiator repeats what it has asked.
    InitiatorRepeats = "initiator repeats", 300;
    /// An initiator gives up waiting and closes its connection.
    CallerLeaves = "caller leaves", 100;
    /// Time jumps ahead for everybody.
    TimeJump = "time jump", 4;
    /// The coordinator's clock falls behind the database's, or catches up.
    ClockSkew = "clock skew", 8;
}

/// Decides which fault strikes, and counts.
#[derive(Clone, Debug)]
pub struct Faults {
    /// False in the healing phase.
    pub on: bool,
    dice: Dice,
    weather: Vec<u64>,
    counts: Vec<u64>,
}

impl Faults {
    /// Faults of one seed: each seed has a weather of its own, in which some faults never strike and
    /// others often.
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

    /// Whether `fault` strikes on this occasion.
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

    /// How often each fault has struck, in the order of [`Fault::ALL`].
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}
