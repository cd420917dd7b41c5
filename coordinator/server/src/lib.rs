//! The coordinator as a library: it carries out what the core decides.
//!
//! | module | does |
//! |---|---|
//! | [`serve`](fn@serve) | starts everything in order, drains and stops it |
//! | `driver` | owns the engine and the lane; the one queue into them |
//! | [`api`] | the services of `tercet.v1` |
//! | `calls` | calls to participants that do not attach |
//! | [`directory`] | who is known as a participant, and how each is reached |
//! | [`config`] | flags, environment and file, checked whole |
//!
//! Nothing here reads the environment, installs a signal handler or prints: that is for the program
//! that calls [`serve`](fn@serve).

pub mod api;
mod calls;
mod clock;
pub mod config;
pub mod directory;
mod driver;
pub mod limits;
mod serve;

pub use config::Config;
pub use serve::{ServeError, serve};
