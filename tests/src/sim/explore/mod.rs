//! Every interleaving of a small world: two actions, one crash with restart, one lost and one repeated
//! message, one commit of unknown outcome; or time that passes while something is under way.
//!
//! A state is cloned for each move that is possible in it; a state that was seen before is not gone
//! into again. The shipped engine, lane and barrier decision run in it, and the same judge looks on.

mod small;
mod worlds;

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
};

pub use self::{small::Small, worlds::World};

/// More states than any world has: exploring ends with an error instead of without end.
const STATES: usize = 5_000_000;

/// What exploring a world came to.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Moves that were made.
    pub moves: u64,
    /// States in which everything was over.
    pub ends: u64,
    /// The first broken promise, and the way to it.
    pub violation: Option<String>,
}

/// Makes every sequence of moves that is possible in this world.
pub fn explore(world: World) -> Explored {
    let mut explored = Explored {
        states: 0,
        moves: 0,
        ends: 0,
        violation: None,
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
        let told = after.make(&next);
        explored.moves += 1;
        let moves = after.moves();
        if moves.is_empty() {
            explored.ends += 1;
            after.end();
        }
        if let Some(violation) = after.violation() {
            trail.push(told);
            explored.violation = Some(format!("{}\n{violation}", trail.join("\n")));
            break;
        }
        if seen.insert(fingerprint(&after)) {
            way.push((after, moves));
            trail.push(told);
        }
        if seen.len() > STATES {
            explored.violation = Some(format!("more than {STATES} states"));
            break;
        }
    }
    explored.states = seen.len();
    explored
}

/// 128 bits of what a state's parts print (FNV-1a).
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
    use super::{World, explore};

    /// The larger worlds are for `cargo simulate --explore`, which holds them to their numbers too.
    #[test]
    fn every_interleaving_of_the_brief_world_keeps_every_promise() {
        let explored = explore(World::Brief);
        assert_eq!(explored.violation, None);
        assert_eq!(explored.states, World::Brief.states());
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn the_brief_world_catches_mutations() {
        let caught = crate::sim::mutations::MUTATIONS
            .iter()
            .filter(|mutation| {
                let broken = || explore(World::Brief).violation.is_some();
                tercet_mutation::with(Some(mutation.name), broken)
            })
            .count();
        assert!(caught >= 3, "{caught} mutations caught");
    }
}
