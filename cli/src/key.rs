//! Credentials: from a passphrase file, a key file, or a prompt. Key bytes are zeroized and never printed.

mod prompt;

use std::path::{Path, PathBuf};

use anyhow::Result;
use repository::env::Env;
use repository::error::Context as _;
use repository::keys::Credential;
use repository::{Error, ErrorKind};

/// Where the credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that holds a passphrase.
    PassphraseFile(PathBuf),
    /// A file that holds 32 random bytes.
    KeyFile(PathBuf),
    /// The person at the terminal.
    Prompt,
}

/// Reads the credential that opens an existing repository.
pub fn read(source: &KeySource) -> Result<Credential> {
    let (path, read) = match source {
        KeySource::PassphraseFile(path) => (path, Credential::read_passphrase_file(path)),
        KeySource::KeyFile(path) => (path, Credential::read_key_file(path)),
        KeySource::Prompt => return Ok(Credential::Passphrase(prompt::passphrase("passphrase: ")?)),
    };
    let credential = read.context(ErrorKind::Key, || "read the key".to_owned())?;
    if Credential::is_exposed(path) {
        tracing::warn!("{}: others than its owner can read it; chmod 600 it", path.display());
    }
    Ok(credential)
}

/// Reads the credential for a new repository: a typed passphrase is asked for twice, a key file that does not exist
/// is made. The second value is the path of a key file that was made.
pub fn read_new(source: &KeySource, env: &Env) -> Result<(Credential, Option<PathBuf>)> {
    match source {
        KeySource::KeyFile(path) if !path.try_exists().unwrap_or(true) => {
            Ok((create_key_file(path, env)?, Some(path.clone())))
        }
        KeySource::Prompt => {
            let first = prompt::passphrase("new passphrase: ")?;
            let again = prompt::passphrase("once more: ")?;
            if first != again {
                return Err(Error::new(ErrorKind::Key, "the two passphrases differ").into());
            }
            Ok((Credential::Passphrase(first), None))
        }
        other => Ok((read(other)?, None)),
    }
}

fn create_key_file(path: &Path, env: &Env) -> repository::Result<Credential> {
    Credential::create_key_file(path, env).context(ErrorKind::Key, || "create the key file".to_owned())
}

#[cfg(test)]
mod tests;
