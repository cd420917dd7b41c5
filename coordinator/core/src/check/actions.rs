//! The rules for the actions of one transaction together: unique names, and an order without cycles.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::fields::{is_name, overlaid};
use crate::{
    limits,
    model::{ActionSpec, Transaction},
    violation::{At, Violation, Violations},
};

/// Checks the part of one action's `after` that does not depend on the other actions.
pub(super) fn after(spec: &ActionSpec, at: &At<'_>, v: &mut Violations) {
    if spec.after.len() > limits::ACTIONS {
        v.too_many(&at.of("after"), "names", spec.after.len(), limits::ACTIONS);
        return;
    }
    for (place, name) in spec.after.iter().enumerate() {
        let field = at.index("after", place);
        if !is_name(name) {
            v.name(&field, name);
        } else if *name == spec.name {
            v.add(&field, "names the action itself; name others");
        } else if spec.after[..place].contains(name) {
            v.add(&field, format!("names {name} again; name each action once"));
        }
    }
}

/// Checks that names are unique, that `after` names actions of the same transaction, and that the order has no
/// cycle.
pub(super) fn order(actions: &[Arc<ActionSpec>], root: &At<'_>, v: &mut Violations) {
    let mut places = BTreeMap::new();
    for (place, action) in actions.iter().enumerate() {
        if let Some(first) = places.insert(&*action.name, place) {
            v.add(
                &root.index("actions", place).of("name"),
                format!("is that of actions[{first}] too; names are unique in a transaction"),
            );
        }
    }
    if actions.iter().all(|action| action.after.is_empty()) {
        return;
    }
    for (place, action) in actions.iter().enumerate() {
        let at = root.index("actions", place);
        unknown(
            action,
            &at,
            |name| places.contains_key(name),
            |violation| {
                v.push(violation);
            },
        );
    }
    if let Some(place) = cycle(actions, &places) {
        v.add(
            &root.index("actions", place).of("after"),
            "closes a cycle: the action would have to come before itself",
        );
    }
}

/// Reports the names in `after` that are no action of the transaction.
fn unknown(
    spec: &ActionSpec,
    at: &At<'_>,
    is_there: impl Fn(&str) -> bool,
    mut report: impl FnMut(Violation),
) {
    for (place, name) in spec.after.iter().enumerate().take(limits::ACTIONS) {
        // A text that is no name has its own violation, which does not repeat it.
        if is_name(name) && !is_there(name) {
            report(Violation::new(
                &at.index("after", place),
                format!("names {name}, which is no action of this transaction"),
            ));
        }
    }
}

/// Returns the first action that remains after taking away, again and again, those that come after no remaining
/// one.
fn cycle(actions: &[Arc<ActionSpec>], places: &BTreeMap<&str, usize>) -> Option<usize> {
    let mut left: BTreeSet<usize> = (0..actions.len()).collect();
    loop {
        let free: Vec<usize> = left
            .iter()
            .copied()
            .filter(|place| {
                actions[*place].after.iter().all(|name| {
                    places
                        .get(&**name)
                        .is_none_or(|before| before == place || !left.contains(before))
                })
            })
            .collect();
        if free.is_empty() {
            return left.first().copied();
        }
        for place in free {
            left.remove(&place);
        }
    }
}

/// Checks that one more action fits the transaction that it is added to.
///
/// # Errors
/// The first violation, its path below `action`.
pub fn fits(tx: &Transaction, spec: &ActionSpec) -> Result<(), Violation> {
    let root = At::field("action");
    if tx.actions.len() >= limits::ACTIONS {
        return Err(Violation::new(
            &root,
            format!("is one more than the {} of a transaction", limits::ACTIONS),
        ));
    }
    if let Some(problem) = overlaid(&tx.spec.ext, &spec.ext) {
        return Err(Violation::new(&root.of("ext_properties"), problem));
    }
    let mut first = Ok(());
    unknown(
        spec,
        &root,
        |name| tx.action(name).is_some(),
        |violation| {
            if first.is_ok() {
                first = Err(violation);
            }
        },
    );
    first
}
