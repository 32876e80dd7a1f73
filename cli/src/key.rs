//! Credentials: from a passphrase file, a key file, or a prompt. Key bytes are zeroized and never printed.

mod prompt;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use repository::env::Env;
use repository::ids::{hex, parse_hex};
use repository::keys::Credential;
use repository::{Error, ErrorKind};
use zeroize::Zeroizing;

/// No key file or passphrase is longer; whatever is was named by mistake.
const FILE_BYTES_MAX: u64 = 4096;

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
    match source {
        KeySource::PassphraseFile(path) => read_passphrase(path),
        KeySource::KeyFile(path) => read_key(path),
        KeySource::Prompt => Ok(Credential::Passphrase(prompt::passphrase("passphrase: ")?)),
    }
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
                return Err(key_error("the two passphrases differ"));
            }
            Ok((Credential::Passphrase(first), None))
        }
        other => Ok((read(other)?, None)),
    }
}

/// Makes a key file of random bytes, as 64 hex digits, readable by its owner only. Never overwrites.
pub fn create_key_file(path: &Path, env: &Env) -> Result<Credential> {
    let key = Zeroizing::new(env.random::<32>());
    let text = Zeroizing::new(format!("{}\n", hex(key.as_slice())));
    let make = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    make().with_context(|| format!("create key file {}", path.display()))?;
    Ok(Credential::KeyFile(key))
}

fn read_passphrase(path: &Path) -> Result<Credential> {
    let bytes = read_secret(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| key_error(format!("passphrase file {}: it is not UTF-8 text", path.display())))?;
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err(key_error(format!("passphrase file {}: it is empty", path.display())));
    }
    Ok(Credential::Passphrase(Zeroizing::new(text.to_owned())))
}

fn read_key(path: &Path) -> Result<Credential> {
    let bytes = read_secret(path)?;
    if let Ok(raw) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(Credential::KeyFile(Zeroizing::new(raw)));
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = Zeroizing::new(String::from_utf8_lossy(text).to_ascii_lowercase());
    match parse_hex::<32>(&text) {
        Some(raw) => Ok(Credential::KeyFile(Zeroizing::new(raw))),
        None => Err(key_error(format!(
            "key file {}: it has to hold 32 bytes or 64 hex digits, and holds {} bytes",
            path.display(),
            bytes.len()
        ))),
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let what = || format!("read {}", path.display());
    let open = || {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok((meta, bytes))
    };
    let (meta, bytes) = open().map_err(|e: std::io::Error| Error::with_source(ErrorKind::Key, what(), e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(key_error(format!(
            "{}: longer than {FILE_BYTES_MAX} bytes, so not a key",
            path.display()
        )));
    }
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        tracing::warn!(
            "{} can be read by others than its owner (mode {:o}): chmod 600 it",
            path.display(),
            meta.mode() & 0o7777
        );
    }
    Ok(bytes)
}

fn key_error(text: impl Into<String>) -> anyhow::Error {
    Error::new(ErrorKind::Key, text).into()
}

#[cfg(test)]
mod tests;
