//! The rules for names: users, kinds of coupons, orders.

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
