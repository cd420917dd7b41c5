//! The binary `tercet`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tercet_server::cli::main()
}
