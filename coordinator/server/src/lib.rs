//! The coordinator's server: it carries out what the core decides.
//!
//! Modules stand in layers; each imports only from those above it.
//!
//! | module | does |
//! |---|---|
//! | [`bounds`], `clock`, [`address`], [`config`] | every bound; the database's time; the form of addresses; flags, environment and file, checked whole |
//! | [`descriptors`], `turns` | the room that the limit of open files leaves; connections that are read in turns |
//! | [`directory`], [`error`], `backlog` | the participants that are known, and how each is reached; errors of requests; what peers have not read yet |
//! | `wire` | conversions between the core's types and `tercet.v1` |
//! | `observe`, `driver` | the thread that owns the engine and the lane, and the log of its work |
//! | `calls` | calls to participants that do not attach |
//! | `requests` | requests of every front end, free of any wire |
//! | [`grpc`] | the gRPC front end: the services of `tercet.v1` |
//! | `listen` | connections: accepts, serves and closes them |
//! | [`serve`](fn@serve) | starts everything in order, drains and stops it |
//!
//! Nothing here reads the environment, installs a signal handler or prints.

pub mod address;
mod backlog;
pub mod bounds;
mod calls;
mod clock;
pub mod config;
pub mod descriptors;
pub mod directory;
mod driver;
pub mod error;
pub mod grpc;
mod listen;
mod observe;
mod pulse;
mod requests;
mod serve;
mod turns;
mod wire;

pub use config::Config;
pub use serve::{ServeError, serve};
