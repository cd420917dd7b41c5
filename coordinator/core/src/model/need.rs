//! The ability that a call needs of a participant's instance.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Mode, Name};

/// The ability that a call needs of a participant's instance. Its word is that of the column `need`: `CHECK_BACK`, or the
/// mode and the handler's name, as in `TCC freeze`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Need {
    /// A handler of this name and mode.
    Handler(Name, Mode),
    /// It answers check-backs.
    CheckBack,
}

const CHECK_BACK: &str = "CHECK_BACK";

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(name, mode) => write!(f, "{mode} {name}"),
            Self::CheckBack => f.write_str(CHECK_BACK),
        }
    }
}

/// A word that names no need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither {CHECK_BACK} nor a mode and a handler's name")]
pub struct UnknownNeed(String);

impl FromStr for Need {
    type Err = UnknownNeed;

    fn from_str(word: &str) -> Result<Self, UnknownNeed> {
        if word == CHECK_BACK {
            return Ok(Self::CheckBack);
        }
        let unknown = || UnknownNeed(word.to_owned());
        let (mode, name) = word.split_once(' ').ok_or_else(unknown)?;
        let mode = Mode::from_word(mode).ok_or_else(unknown)?;
        Ok(Self::Handler(name.into(), mode))
    }
}

impl TryFrom<String> for Need {
    type Error = UnknownNeed;

    fn try_from(word: String) -> Result<Self, UnknownNeed> {
        word.parse()
    }
}

impl From<Need> for String {
    fn from(need: Need) -> Self {
        need.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_read_back_from_its_word() {
        let needs = [
            ("CHECK_BACK", Need::CheckBack),
            ("TCC freeze", Need::Handler("freeze".into(), Mode::Tcc)),
            (
                "DELIVER two words",
                Need::Handler("two words".into(), Mode::Deliver),
            ),
        ];
        for (word, need) in needs {
            assert_eq!(need.to_string(), word);
            assert_eq!(word.parse(), Ok(need));
        }
        for word in ["", "freeze", "TCC", "tcc freeze", "CHECK_BACK freeze"] {
            assert_eq!(word.parse::<Need>(), Err(UnknownNeed(word.to_owned())));
        }
    }
}
