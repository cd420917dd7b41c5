//! The barrier through the SDK's real path: the same tests on SQLite, PostgreSQL and MariaDB.
#![allow(clippy::unwrap_used)]

#[path = "../coordinator_mock/mod.rs"]
mod coordinator_mock;

mod abuse;
mod check_back;
mod code;
mod external;
mod given_up;
mod own_try;
mod races;
mod table;
mod world;
