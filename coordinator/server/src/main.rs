//! The binary `tercet`.

use std::process::ExitCode;

/// Messages are small and many, made on one thread and dropped on another: what the system's allocator is
/// worst at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tercet_server::cli::main()
}
