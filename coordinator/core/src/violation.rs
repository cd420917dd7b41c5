//! Violations of the rules for one request, each with the path of its field.

use std::fmt::{self, Write as _};

use crate::limits;

/// One field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path: `actions[1].payload`.
    pub field: String,
    /// The rule that it breaks, and what would be accepted.
    pub description: String,
}

impl Violation {
    /// Makes a violation of the field at this path.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

/// All violations of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Fields are wrong.
    Fields(Vec<Violation>),
    /// Every field is right in itself, but names participants that are not known.
    UnknownParticipants(Vec<Violation>),
    /// Every participant is known, but the rows of some that are named cannot be read.
    UnreadableParticipants(Vec<Violation>),
    /// Every participant is known, but does not serve what it is named for.
    Unserved(Vec<Violation>),
}

impl Invalid {
    /// Returns the violations, in the order in which they were found.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Fields(list)
            | Self::UnknownParticipants(list)
            | Self::UnreadableParticipants(list)
            | Self::Unserved(list) => list,
        }
    }
}

impl From<Violation> for Invalid {
    fn from(violation: Violation) -> Self {
        Self::Fields(vec![violation])
    }
}

/// Collects the violations of one request.
#[derive(Debug, Default)]
pub struct Violations {
    wrong: Vec<Violation>,
    unknown: Vec<Violation>,
    unreadable: Vec<Violation>,
    unserved: Vec<Violation>,
}

impl Violations {
    /// Adds a violation of the field at this path.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.push(Violation::new(field, description));
    }

    /// Adds a violation.
    pub fn push(&mut self, violation: Violation) {
        self.wrong.push(violation);
    }

    /// Adds the name of a participant that is not known.
    pub(crate) fn add_unknown(&mut self, violation: Violation) {
        self.unknown.push(violation);
    }

    /// Adds the name of a participant whose row cannot be read.
    pub(crate) fn add_unreadable(&mut self, violation: Violation) {
        self.unreadable.push(violation);
    }

    /// Adds what a participant does not serve.
    pub(crate) fn add_unserved(&mut self, violation: Violation) {
        self.unserved.push(violation);
    }

    /// Returns the number of wrong fields so far.
    pub(crate) fn len(&self) -> usize {
        self.wrong.len()
    }

    /// Returns the value that front ends read from a field, or a stand-in for it after adding a violation. The
    /// stand-in goes no further: [`Violations::give`] withholds the request.
    pub fn require<T>(
        &mut self,
        field: impl Into<String>,
        value: Option<T>,
        stand_in: T,
        description: &str,
    ) -> T {
        value.unwrap_or_else(|| {
            self.add(field, description);
            stand_in
        })
    }

    /// Returns the word that a number stands for; where it stands for none, notes that and returns `stand_in`. `known` names
    /// every word.
    pub fn word<T>(
        &mut self,
        field: impl Into<String>,
        number: i32,
        word: Option<T>,
        stand_in: T,
        known: &str,
    ) -> T {
        word.unwrap_or_else(|| {
            self.no_word(field, number, known);
            stand_in
        })
    }

    /// Notes a number that stands for no word; 0 is one that is not given.
    pub fn no_word(&mut self, field: impl Into<String>, number: i32, known: &str) {
        let description = match number {
            0 => format!("is not given; give one of {known}"),
            _ => format!("has the unknown value {number}; known: {known}"),
        };
        self.add(field, description);
    }

    /// Returns all violations, and this one last: the request goes no further.
    pub fn and(self, violation: Violation) -> Invalid {
        let mut all = self.all();
        all.push(violation);
        Invalid::Fields(all)
    }

    /// Returns the request, if nothing is wrong with it.
    ///
    /// # Errors
    /// Every violation, otherwise.
    pub fn give<T>(self, request: T) -> Result<T, Invalid> {
        let Some(kind) = self.kind() else {
            return Ok(request);
        };
        Err(kind(self.all()))
    }

    /// Returns the kind of the worst violation.
    fn kind(&self) -> Option<fn(Vec<Violation>) -> Invalid> {
        let kinds: [(_, fn(_) -> _); 4] = [
            (&self.wrong, Invalid::Fields),
            (&self.unknown, Invalid::UnknownParticipants),
            (&self.unreadable, Invalid::UnreadableParticipants),
            (&self.unserved, Invalid::Unserved),
        ];
        let mut kinds = kinds.into_iter();
        kinds
            .find(|(list, _)| !list.is_empty())
            .map(|(_, kind)| kind)
    }

    /// Returns all violations, the worst kind first. Where a field is wrong, it is not said what participants do not serve:
    /// that may be a consequence.
    fn all(self) -> Vec<Violation> {
        let is_right = self.wrong.is_empty();
        let unserved = self.unserved.into_iter().filter(|_| is_right);
        let others = [self.wrong, self.unknown, self.unreadable].concat();
        others.into_iter().chain(unserved).collect()
    }
}

/// Joins the first violations to one line.
pub fn in_words(violations: &[Violation]) -> String {
    let mut text = String::new();
    for violation in violations.iter().take(limits::VIOLATIONS_IN_MESSAGE) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&violation.field);
        text.push_str(": ");
        text.push_str(&violation.description);
    }
    if violations.len() > limits::VIOLATIONS_IN_MESSAGE {
        let more = violations.len() - limits::VIOLATIONS_IN_MESSAGE;
        let _ = write!(text, "; and {more} more");
    }
    text
}

/// The path of a field, put into text only for a violation.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum At<'a> {
    /// A field of the request itself; empty: the request.
    Field(&'a str),
    /// A field of another one.
    Of(&'a At<'a>, &'a str),
    /// An element of a list that is a field of another one.
    Index(&'a At<'a>, &'a str, usize),
}

impl<'a> At<'a> {
    /// Makes the path of a field of the request itself.
    pub fn field(name: &'a str) -> Self {
        Self::Field(name)
    }

    /// Makes the path of a field of this one.
    pub fn of(&'a self, name: &'a str) -> Self {
        Self::Of(self, name)
    }

    /// Makes the path of an element of a list in this one.
    pub fn index(&'a self, name: &'a str, index: usize) -> Self {
        Self::Index(self, name, index)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parent, name) = match self {
            Self::Field(name) => return f.write_str(name),
            Self::Of(parent, name) | Self::Index(parent, name, _) => (parent, name),
        };
        match parent {
            Self::Field("") => f.write_str(name)?,
            parent => write!(f, "{parent}.{name}")?,
        }
        match self {
            Self::Index(_, _, index) => write!(f, "[{index}]"),
            _ => Ok(()),
        }
    }
}

impl From<&At<'_>> for String {
    fn from(at: &At<'_>) -> Self {
        at.to_string()
    }
}
