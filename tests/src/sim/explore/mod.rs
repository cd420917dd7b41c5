//! Every interleaving of a small world: two actions, one crash with restart, one lost and one repeated
//! message, one commit of unknown outcome; or time that passes while something is under way.
//!
//! A state is cloned for each move that is possible in it; a state that was seen before is not expanded
//! again. The engine, the lane and the barrier's decisions run in it as they ship, watched by the same judge.

mod small;
mod worlds;

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
};

pub use self::{small::Small, worlds::SmallWorld};

/// The limit of states, beyond what any world has: exploring ends with an error instead of without end.
const STATES: usize = 5_000_000;

/// The result of exploring a world.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The number of distinct states.
    pub states: usize,
    /// The number of moves that were made.
    pub moves: u64,
    /// The number of states in which everything was over.
    pub ends: u64,
    /// The first breach, and the moves that led to it.
    pub breach: Option<String>,
}

/// Makes every sequence of moves that is possible in this world.
pub fn explore(world: SmallWorld) -> Explored {
    let mut explored = Explored {
        states: 0,
        moves: 0,
        ends: 0,
        breach: None,
    };
    let mut seen = HashSet::new();
    let first = Small::new(world);
    seen.insert(fingerprint(&first));
    let moves = first.moves();
    let mut way: Vec<(Small, Vec<small::Move>)> = vec![(first, moves)];
    let mut trail: Vec<String> = Vec::new();
    while let Some((state, moves)) = way.last_mut() {
        let Some(next) = moves.pop() else {
            way.pop();
            trail.pop();
            continue;
        };
        let mut after = state.clone();
        let step = after.make(&next);
        explored.moves += 1;
        let moves = after.moves();
        if moves.is_empty() {
            explored.ends += 1;
            after.end();
        }
        if let Some(breach) = after.breach() {
            trail.push(step);
            explored.breach = Some(format!("{}\n{breach}", trail.join("\n")));
            break;
        }
        if seen.insert(fingerprint(&after)) {
            way.push((after, moves));
            trail.push(step);
        }
        if seen.len() > STATES {
            explored.breach = Some(format!("more than {STATES} states"));
            break;
        }
    }
    explored.states = seen.len();
    explored
}

/// Hashes the debug output of a state to 128 bits (FNV-1a).
fn fingerprint(state: &Small) -> u128 {
    let mut hash = Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    // Writing to a hash cannot fail.
    let _ = write!(hash, "{state:?}");
    hash.0
}

struct Fnv(u128);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 ^= u128::from(byte);
            self.0 = self
                .0
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SmallWorld, explore};

    /// `cargo simulate --explore` explores the larger worlds and checks their numbers too.
    #[test]
    fn every_interleaving_of_the_brief_world_keeps_every_invariant() {
        let explored = explore(SmallWorld::Brief);
        assert_eq!(explored.breach, None);
        assert_eq!(explored.states, SmallWorld::Brief.states());
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn the_brief_world_catches_mutations() {
        let caught = crate::sim::mutations::MUTATIONS
            .iter()
            .filter(|mutation| {
                let broken = || explore(SmallWorld::Brief).breach.is_some();
                tercet_mutation::with(Some(mutation.name), broken)
            })
            .count();
        assert!(caught >= 3, "{caught} mutations caught");
    }
}
