//! Arguments of the commands that look after what is stored.

use clap::Args;

use super::life::seconds;

/// `audit`
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Only what was done within this time: 36h, 30d, 12w
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    pub since: Option<u64>,
    /// Only records of this kind: forgot, unforgot, gc, verified, restore-test, repaired, keys
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}
