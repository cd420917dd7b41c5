//! Everything that the two services of the demo share: options, faults, the database, the pages of
//! their queries, and the life of their process. A service itself is an implementation of [`Service`].

mod chaos;
mod database;
mod faults;
mod names;
mod options;
mod reader;
mod run;
mod seed;
mod serve;
mod service;

pub use database::open;
pub use faults::{Fault, Faults, Step, Target, When};
pub use names::{MAX_NAME_BYTES, check_name};
pub use options::Options;
pub use reader::{Listed, Page, Reader, Record};
pub use run::{ANNOUNCEMENT, log_to_stderr, main, run, stopped};
pub use seed::SeedPart;
pub use serve::serve;
pub use service::{Builder, Service, participant};
