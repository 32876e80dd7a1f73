//! Arguments of `key` and `domain`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use repository::ids::DomainName;
use repository::keys::{PublicKey, Role};

use super::path;

/// `key`
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// List who may open the domain
    List,
    /// Let a passphrase, a key file, or the owner of a public key in
    Add(KeyAddArgs),
    /// Take a credential out; what it opened before, its holder may have kept: rotate then
    Remove {
        /// Its label, its id, or the id's first digits
        which: String,
        /// A reason, kept in the audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Begin a new epoch: what is written from now on is sealed under new keys
    Rotate {
        /// A reason, kept in the audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Write all keys down, for safe keeping apart from the store
    Export {
        /// Write to this new file, readable by its owner only [default: standard output]
        #[arg(long, value_parser = path(), value_name = "FILE")]
        out: Option<PathBuf>,
        /// What opens the export [default: a new passphrase, asked for]
        #[command(flatten)]
        with: NewKey,
        /// Do not seal it: whoever reads it can read the backups
        #[arg(long, conflicts_with = "new")]
        bare: bool,
    },
    /// Bring the keys back from an export; its passphrase or key file opens the domain from then on
    Import {
        /// The export
        #[arg(value_parser = path())]
        file: PathBuf,
        /// Also if there are keys in the store, which nobody can open any more
        #[arg(long)]
        replace: bool,
    },
    /// Make a key file, and print its recipient: the public key by which others can let it in
    Generate {
        /// The new key file
        #[arg(value_parser = path())]
        file: PathBuf,
    },
    /// Print the recipient of the key file in use
    Recipient,
}

/// A new credential that is at hand.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "new", multiple = false)]
pub struct NewKey {
    /// The new passphrase is in this file
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// The new key is in this file, which is made if there is none
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
}

/// `key add`
#[derive(Args, Clone, Debug)]
pub struct KeyAddArgs {
    /// What to let in [default: a new passphrase, asked for]
    #[command(flatten)]
    pub with: NewKey,
    /// Let in the owner of the key file with this recipient (`holdfast key generate`)
    #[arg(long, value_name = "RECIPIENT", conflicts_with = "new")]
    pub recipient: Option<PublicKey>,
    /// What it may do
    #[arg(long, value_enum, default_value_t, value_name = "ROLE")]
    pub role: RoleArg,
    /// A name for it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub label: String,
    /// A reason, kept in the audit
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Everything.
    #[default]
    Full,
    /// Back up, without being able to read what files held; names, sizes and times it can.
    Writer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Full => Self::Full,
            RoleArg::Writer => Self::Writer,
        }
    }
}

/// `domain`
#[derive(Clone, Debug, Subcommand)]
pub enum DomainCommand {
    /// List the domains of the repository; needs no key
    List,
    /// Add a domain with keys of its own to the repository; --key-file or --passphrase-file opens it then
    Add {
        /// Its name: 1 to 63 of a-z, 0-9 and -
        name: DomainName,
    },
}
