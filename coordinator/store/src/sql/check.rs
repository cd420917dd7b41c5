//! The checks of a write before it reaches the database.

use tercet_core::write::{Fence, Write};

/// Checks that a write makes the next version of each of its rows. The error is the fault of one that does not, which no
/// row could keep.
pub(crate) fn check(write: &Write) -> Result<(), String> {
    let expected = match &write.fence {
        Fence::Absent(spec) if spec.id != write.id => {
            return Err(format!("it begins transaction {}", spec.id));
        }
        Fence::Absent(_) => 0,
        Fence::Version(expected) => *expected,
        #[allow(
            unreachable_patterns,
            reason = "a mutation of the core adds a fence that is none"
        )]
        _ => return Err("it has no fence".into()),
    };
    let version = write.head.version;
    if expected.checked_add(1) != Some(version) {
        return Err(format!("it makes version {version} of version {expected}"));
    }
    for action in &write.actions {
        match (&action.insert, action.state.version) {
            (Some(_), 1) | (None, 2..) => {}
            (_, version) => {
                let name = &action.name;
                return Err(format!("it makes version {version} of action {name}"));
            }
        }
    }
    Ok(())
}
