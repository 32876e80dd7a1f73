//! Changes of a ring, as plain functions: each gives the next version.

use std::sync::Arc;

use super::{Access, CredentialId, Epoch, KeyError, Ring, Role};
use crate::env::Env;

/// A change of a domain's keys. It is made again on top of whatever was stored meanwhile.
#[derive(Clone, Debug)]
pub enum Change {
    /// Lets a credential in.
    Add(Access),
    /// Takes a credential out: it opens nothing that is stored from now on under a new epoch. What it had opened, its
    /// holder may have kept.
    Remove(CredentialId),
    /// Adds an epoch.
    Rotate,
}

impl Ring {
    /// The ring after this change, of the version after this one.
    pub(super) fn after(&self, change: &Change, env: &Env) -> Result<Self, KeyError> {
        if self.role != Role::Full {
            let what = "the credential in use has the role writer, which can't change keys";
            return Err(KeyError::Credential(what.to_owned()));
        }
        let refused = |what: String| Err(KeyError::Credential(what));
        let mut next = self.clone();
        next.version = self.version.checked_add(1).ok_or(KeyError::NoEpoch(u32::MAX))?;
        match change {
            Change::Add(access) => {
                if self.credentials.iter().any(|c| c.public == access.public) {
                    return refused("this credential is there already".to_owned());
                }
                if !access.label.is_empty() && self.credentials.iter().any(|c| c.label == access.label) {
                    return refused(format!(
                        "there is a credential with the label {:?} already",
                        access.label
                    ));
                }
                next.credentials.push(access.clone());
            }
            Change::Remove(id) => {
                next.credentials.retain(|c| c.id != *id);
                if next.credentials.len() == self.credentials.len() {
                    return refused(format!("there is no credential {id} (any more)"));
                }
                if !next.credentials.iter().any(|c| c.role == Role::Full) {
                    let what =
                        "it is the last credential with the role full: without it nothing could be read";
                    return refused(what.to_owned());
                }
            }
            Change::Rotate => {
                let number = self.newest_epoch().checked_add(1).ok_or(KeyError::NoEpoch(u32::MAX))?;
                next.epochs.insert(number, Arc::new(Epoch::generate(env)));
            }
        }
        Ok(next)
    }
}
