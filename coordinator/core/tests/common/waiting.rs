//! Looks at where transactions wait.

use std::time::Duration;

use super::{World, tx_id};
use tercet_core::model::{ActionSpec, Mode, Need, Queue, TxStatus};

/// An action of another participant than "p".
pub fn of(participant: &str, action: ActionSpec) -> ActionSpec {
    ActionSpec {
        participant: participant.into(),
        ..action
    }
}

pub fn wait(participant: &str, handler: &str) -> Queue {
    Queue::Wait {
        participant: participant.into(),
        need: Some(Need::Handler(handler.into(), Mode::Tcc)),
        business_type: "exchange".into(),
    }
}

pub fn queues(world: &World, number: u64) -> Vec<Queue> {
    let rows = world.table.due_of(tx_id(number));
    rows.into_iter().map(|row| row.queue).collect()
}

pub fn status(world: &World, number: u64) -> TxStatus {
    world.table.transaction(tx_id(number)).phase.status()
}

/// Lets the loader look at the table, again and again.
pub fn look(world: &mut World) {
    for _ in 0..5 {
        world.after(Duration::from_millis(500));
    }
}
