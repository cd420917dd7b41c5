//! What a name may be, and how a seed file is read.

use serde::de::DeserializeOwned;

/// The longest user, kind of coupon or order.
pub const MAX_NAME_BYTES: usize = 128;

/// Refuses a name that is empty, too long or has control characters, naming `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{field} is empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        let len = name.len();
        return Err(format!(
            "{field} has {len} bytes, at most {MAX_NAME_BYTES} are allowed"
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("{field} has a control character"));
    }
    Ok(())
}

/// Reads one service's tables of a seed file, which is TOML. The error says where it is wrong.
pub fn parse_seed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| format!("not a seed file: {error}"))
}
