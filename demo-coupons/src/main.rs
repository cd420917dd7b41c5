//! The coupons service of the demo, as a process of its own.

use clap::Parser;
use demo_service::Options;

/// The coupons service of the demo
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    demo_service::log_to_stderr();
    demo_coupons::run(&command.options).await
}
