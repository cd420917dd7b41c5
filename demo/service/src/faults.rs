//! Faults on purpose: `--fail OP:SERVICE=P[:WHEN]`, and the dice.

use std::fmt;
use std::str::FromStr;

/// Which operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Phase one.
    Try,
    /// Phase two after SUCCESS.
    Confirm,
    /// Phase two after FAILURE.
    Cancel,
}

/// Which service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// demo-points.
    Points,
    /// demo-coupons.
    Coupons,
}

/// The way in which it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything is done: an error is answered.
    Before,
    /// The effect is committed and the reply lost: an error is answered.
    After,
    /// Nothing is done and nothing is ever answered.
    Hang,
    /// A business rejection, without any effect.
    Reject,
}

/// A share of one service's operations that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Which operation.
    pub step: Step,
    /// Of which service.
    pub target: Target,
    /// The share of them, 0 to 1.
    pub share: f64,
    /// The way.
    pub when: When,
}

/// The end of every message about a wrong fault.
const ACCEPTED: &str = "expected OP:SERVICE=P[:WHEN] with OP try, confirm or cancel, SERVICE points \
                        or coupons, P a share from 0 to 1, WHEN before, after, hang or reject \
                        (after when left out), for example try:points=0.2:after";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("{what}; {ACCEPTED}");
        let (operation, dice) = text
            .split_once('=')
            .ok_or_else(|| wrong(format!("{text:?} has no '='")))?;
        let (step, target) = operation
            .split_once(':')
            .ok_or_else(|| wrong(format!("{operation:?} has no ':' before the '='")))?;
        let (share, when) = dice.split_once(':').unwrap_or((dice, "after"));
        Ok(Self {
            step: match step {
                "try" => Step::Try,
                "confirm" => Step::Confirm,
                "cancel" => Step::Cancel,
                other => return Err(wrong(format!("{other:?} is no operation"))),
            },
            target: match target {
                "points" => Target::Points,
                "coupons" => Target::Coupons,
                other => return Err(wrong(format!("{other:?} is no service"))),
            },
            share: share
                .parse()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| wrong(format!("{share:?} is no share")))?,
            when: match when {
                "before" => When::Before,
                "after" => When::After,
                "hang" => When::Hang,
                "reject" => When::Reject,
                other => return Err(wrong(format!("{other:?} is no way to fail"))),
            },
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Try => "try",
            Step::Confirm => "confirm",
            Step::Cancel => "cancel",
        };
        let target = match self.target {
            Target::Points => "points",
            Target::Coupons => "coupons",
        };
        let when = match self.when {
            When::Before => "before",
            When::After => "after",
            When::Hang => "hang",
            When::Reject => "reject",
        };
        write!(f, "{step}:{target}={}:{when}", self.share)
    }
}

/// The faults of one service.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Those of `all` that concern `target`.
    pub fn of(target: Target, all: &[Fault]) -> Self {
        Self(
            all.iter()
                .filter(|fault| fault.target == target)
                .copied()
                .collect(),
        )
    }

    /// True if nothing fails.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Throws the dice for one call of `step`: the way in which it is to fail, if it is.
    pub fn draw(&self, step: Step) -> Option<When> {
        self.0
            .iter()
            .find(|fault| fault.step == step && rand::random::<f64>() < fault.share)
            .map(|fault| fault.when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_it_is_written() {
        for text in [
            "try:points=0.2:after",
            "confirm:coupons=1:hang",
            "cancel:points=0:reject",
        ] {
            assert_eq!(
                text.parse::<Fault>().map(|fault| fault.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            "try:points=0.5".parse::<Fault>().map(|fault| fault.when),
            Ok(When::After)
        );
    }

    #[test]
    fn a_wrong_fault_is_refused_and_what_is_accepted_is_said() {
        for (text, what) in [
            ("try:points", "has no '='"),
            ("points=0.1", "has no ':'"),
            ("tri:points=0.1", "\"tri\" is no operation"),
            ("try:coins=0.1", "\"coins\" is no service"),
            ("try:points=1.1", "\"1.1\" is no share"),
            ("try:points=-0.1", "\"-0.1\" is no share"),
            ("try:points=NaN", "\"NaN\" is no share"),
            ("try:points=0.1:late", "\"late\" is no way to fail"),
        ] {
            let error = text.parse::<Fault>().expect_err(text);
            assert!(error.contains(what), "{text}: {error}");
            assert!(error.contains("expected OP:SERVICE=P[:WHEN]"), "{error}");
        }
    }

    #[test]
    fn the_dice_hit_all_or_nothing_at_the_ends() {
        let faults = |share: f64| {
            let fault = Fault {
                step: Step::Try,
                target: Target::Points,
                share,
                when: When::Hang,
            };
            Faults::of(Target::Points, &[fault])
        };
        for _ in 0..100 {
            assert_eq!(faults(1.0).draw(Step::Try), Some(When::Hang));
            assert_eq!(faults(0.0).draw(Step::Try), None);
            assert_eq!(faults(1.0).draw(Step::Cancel), None);
        }
        let other = Fault {
            step: Step::Try,
            target: Target::Coupons,
            share: 1.0,
            when: When::Hang,
        };
        assert_eq!(Faults::of(Target::Points, &[other]).draw(Step::Try), None);
    }
}
