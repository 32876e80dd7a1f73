//! Arguments of the commands about what protects a bucket.

use clap::{Args, ValueEnum};
use proto::task::LockSpec;

use super::Detach;

/// `lock`
#[derive(Args, Clone, Debug)]
pub struct LockArgs {
    /// What snapshots need stays locked at least half this many days from now on [through a coordinator: default as configured there]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: Option<u32>,
    /// Only tell what is due
    #[arg(long)]
    pub dry_run: bool,
    /// For coordinators
    #[command(flatten)]
    pub detach: Detach,
}

impl LockArgs {
    /// As a coordinator takes it: what is not given is as configured there.
    #[must_use]
    pub fn spec(&self) -> LockSpec {
        LockSpec { days: self.days, dry_run: self.dry_run }
    }
}

/// `policy`
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Whom the policy is for
    pub role: UserArg,
    /// Who is meant (an ARN, or what the server takes for one): makes a policy of the bucket instead of one to attach to a
    /// user or role; repeatable
    #[arg(long, value_name = "WHO")]
    pub principal: Vec<String>,
    /// Leave out conditions, for servers that know none of them
    #[arg(long)]
    pub no_conditions: bool,
    /// Also what putting and extending locks takes
    #[arg(long)]
    pub locks: bool,
}

/// Whom a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UserArg {
    /// Backs up and restores one domain; can't delete, replace or forget
    Agent,
    /// Forgets, collects, repairs, verifies
    Coordinator,
    /// Restores and verifies, changes nothing
    Reader,
}
