//! Violations of the rules for one request, each with the path of its field.

use std::fmt;

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
}

impl Invalid {
    /// Returns the violations, in the order in which they were found.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Fields(list) | Self::UnknownParticipants(list) => list,
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

    /// Returns all violations, and this one last: the request goes no further.
    pub fn and(self, violation: Violation) -> Invalid {
        let Self { mut wrong, unknown } = self;
        wrong.extend(unknown);
        wrong.push(violation);
        Invalid::Fields(wrong)
    }

    /// Returns the request, if nothing is wrong with it.
    ///
    /// # Errors
    /// Every violation, otherwise.
    pub fn give<T>(self, request: T) -> Result<T, Invalid> {
        let Self { mut wrong, unknown } = self;
        match (wrong.is_empty(), unknown.is_empty()) {
            (true, true) => Ok(request),
            (true, false) => Err(Invalid::UnknownParticipants(unknown)),
            (false, _) => {
                wrong.extend(unknown);
                Err(Invalid::Fields(wrong))
            }
        }
    }
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
