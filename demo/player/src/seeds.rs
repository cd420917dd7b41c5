//! The seed file as both services read it.

use demo_service::SeedPart;

/// The opening state of both services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seeds {
    /// The accounts.
    pub points: demo_points::seed::Seed,
    /// The kinds of coupons.
    pub coupons: demo_coupons::seed::Seed,
}

impl Seeds {
    /// Reads a seed file; the error names everything that is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match (
            demo_points::seed::Seed::parse(text),
            demo_coupons::seed::Seed::parse(text),
        ) {
            (Ok(points), Ok(coupons)) => Ok(Self { points, coupons }),
            (Err(points), Err(coupons)) if points != coupons => Err(format!("{points}; {coupons}")),
            (Err(wrong), _) | (_, Err(wrong)) => Err(wrong),
        }
    }
}
