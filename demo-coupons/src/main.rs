//! The coupons service of the demo, as a process of its own.

fn main() -> anyhow::Result<()> {
    demo_service::main::<demo_coupons::CouponsService>()
}
