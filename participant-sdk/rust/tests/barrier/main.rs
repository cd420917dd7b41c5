//! The barrier through the SDK's real path, on SQLite, PostgreSQL and MariaDB: one body, three
//! databases.
#![allow(clippy::unwrap_used)]

mod check_back;
mod code;
mod external;
mod races;
mod table;
mod world;
