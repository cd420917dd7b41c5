//! The seed file: the opening state of the services' databases.

use serde::de::DeserializeOwned;

/// The tables of the seed file that one service reads; the others are for other services.
pub trait SeedPart: DeserializeOwned + Default {
    /// Everything that is wrong with it.
    fn mistakes(&self) -> Vec<String>;

    /// Reads a seed file, which is TOML. The error names every mistake.
    fn parse(text: &str) -> Result<Self, String> {
        let seed: Self =
            toml::from_str(text).map_err(|error| format!("not a seed file: {error}"))?;
        let mistakes = seed.mistakes();
        if mistakes.is_empty() {
            Ok(seed)
        } else {
            Err(mistakes.join("; "))
        }
    }
}
