//! What the two services of the demo share: their options, their faults, their database, and the way
//! their process starts and ends. What a service does stands in the service.

mod chaos;
mod database;
mod faults;
mod names;
mod options;
mod page;
mod run;
mod service;

pub use database::open;
pub use faults::{Fault, Faults, Step, Target, When};
pub use names::{MAX_NAME_BYTES, check_name, parse_seed};
pub use options::Options;
pub use page::{Page, next_cursor};
pub use run::{ANNOUNCEMENT, announce, bind, log_to_stderr, stopped};
pub use service::{Service, participant};
