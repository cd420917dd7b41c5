//! cargo verify
fn main() {}
