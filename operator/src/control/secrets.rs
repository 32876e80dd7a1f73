//! What opens a repository, from a Secret: to files that only we can read, and to what nodes are told. Never logged.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use proto::v1::Access;
use service::repo::client_prefix;

use crate::resources::Repository;

/// A Secret that makes sense.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Opens {
    key: Vec<u8>,
    settings: BTreeMap<String, String>,
}

impl std::fmt::Debug for Opens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opens(..)")
    }
}

/// Names of files below a repository's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) key: PathBuf,
    pub(super) credentials: Option<PathBuf>,
}

/// Longest value: a key file has 65 bytes, a credential a few hundred, a service account's JSON a few thousand.
const VALUE_BYTES_MAX: usize = 32 << 10;

impl Opens {
    /// Understands a Secret; or says what is wrong, without any value.
    pub(super) fn new(secret: &Secret, url: &str) -> Result<Self, String> {
        let data = secret.data.as_ref().map_or(const { &BTreeMap::new() }, |d| d);
        let key = data
            .get("key")
            .filter(|k| !k.0.is_empty())
            .ok_or("it has no `key`: 32 bytes or 64 hex digits")?;
        let prefix = client_prefix(url);
        let mut settings = BTreeMap::new();
        for (name, ByteString(value)) in data {
            if value.len() > VALUE_BYTES_MAX {
                return Err(format!("`{name}` is larger than {VALUE_BYTES_MAX} bytes"));
            }
            let Some(prefix) = prefix.filter(|p| name.starts_with(*p)) else { continue };
            let text = std::str::from_utf8(value).ok().map(str::trim);
            let text = text.filter(|t| !t.is_empty() && !t.contains(['\n', '\r', '\0']));
            let text = text.ok_or_else(|| format!("`{name}` is not one line of text"))?;
            if name.contains(['=', '\n']) || name.len() == prefix.len() {
                return Err(format!("`{name}` names no setting"));
            }
            settings.insert(name.clone(), text.to_owned());
        }
        Ok(Self { key: key.0.clone(), settings })
    }

    /// Writes the files, each in one step, for nobody else to read.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<Files> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let key = put(folder, "key", &self.key)?;
        let lines: String = self.settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let credentials = match self.settings.is_empty() {
            true => None,
            false => Some(put(folder, "credentials", lines.as_bytes())?),
        };
        Ok(Files { key, credentials })
    }

    /// What a node is told.
    pub(super) fn access(&self, repository: &Repository, domain: &str) -> Access {
        Access {
            domain: domain.to_owned(),
            url: repository.spec.url.clone(),
            credentials: self.settings.clone().into_iter().collect::<HashMap<_, _>>(),
            key_file: self.key.clone().into(),
            reuse: "any".to_owned(),
            store_ca: Vec::new().into(),
        }
    }
}

fn put(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<PathBuf> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let gone = fs::remove_file(&new);
    if let Err(e) = gone
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e);
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    fs::rename(&new, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests;
