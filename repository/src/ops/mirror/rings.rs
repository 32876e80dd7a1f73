//! The end of a run: a ring that came to be while the rest was copied is taken over, so that the mirror opens with the newest
//! keys and whoever was removed from them can't open it.

use std::collections::BTreeMap;

use super::Run;
use super::listing::{Listing, Stage};
use crate::error::Context as _;
use crate::ids::DomainName;
use crate::layout::Layout;
use crate::limits::MIRROR_ROUNDS_MAX;
use crate::store::{Key, StoreErrorKind};
use crate::{Error, ErrorKind, Result};

/// Keys of the copies of each version.
type Versions<'k> = BTreeMap<u32, Vec<&'k Key>>;

impl Run<'_> {
    /// Lists rings and copies those that the mirror lacks, again while one vanishes under the hand; and then, if asked to
    /// delete, drops what K3 drops. [`ErrorKind::Refused`] if one vanished each time: the mirror may lack the newest.
    pub(super) async fn follow_rings(&mut self, listed: &Listing) -> Result<()> {
        for _ in 0..MIRROR_ROUNDS_MAX {
            let now = listed.now(self.source, &["k"]).await?;
            let vanished = self.report.vanished;
            let new = now.without(&self.there);
            if !new.is_empty() {
                // Its copy `a` before its copy `b`, as whoever made it put them.
                self.copy(&new, Stage::Keys).await?;
            }
            // One that vanished was followed by another.
            if self.report.vanished == vanished {
                return if self.request.delete { self.drop_old_rings(&now).await } else { Ok(()) };
            }
        }
        let what = format!(
            "key rings vanished from the source in each of {MIRROR_ROUNDS_MAX} listings; all else was copied, but the mirror \
             may open with old keys only: mirror again"
        );
        Err(Error::new(ErrorKind::Refused, what))
    }

    /// K3: versions before the newest one of which both copies are there and the same, if the source has them no more.
    async fn drop_old_rings(&mut self, now: &Listing) -> Result<()> {
        let mut domains: BTreeMap<DomainName, Versions<'_>> = BTreeMap::new();
        for (key, _) in self.there.of(Stage::Keys) {
            let domain = key.as_str().split('/').next().and_then(|d| d.parse::<DomainName>().ok());
            let Some(domain) = domain else { continue };
            if let Some((version, _)) = Layout::new(domain.clone()).parse_ring(key) {
                domains.entry(domain).or_default().entry(version).or_default().push(key);
            }
        }
        let mut old: Vec<(Key, u64)> = Vec::new();
        for versions in domains.values() {
            let newest = versions.iter().rev().find(|(_, copies)| copies.len() == 2);
            let Some((version, copies)) = newest else { continue };
            let before: Vec<&Key> = versions.range(..version).flat_map(|(_, keys)| keys).copied().collect();
            if before.is_empty() || !self.is_same(copies[0], copies[1]).await? {
                continue;
            }
            // Listed before the new one was put: it may have gone since.
            let again = match before.iter().any(|key| now.size(key).is_some()) {
                true => Some(now.now(self.source, &["k"]).await?),
                false => None,
            };
            let now = again.as_ref().unwrap_or(now);
            let gone = before.into_iter().filter(|key| now.size(key).is_none());
            old.extend(gone.map(|key| (key.clone(), self.there.size(key).unwrap_or(0))));
        }
        for (key, bytes) in old {
            match self.target.delete(&key).await {
                Ok(()) => {
                    self.report.deleted += 1;
                    self.report.bytes_deleted += bytes;
                }
                Err(e) if e.kind == StoreErrorKind::Denied => self.report.leftovers += 1,
                Err(e) => return Err(e).context(ErrorKind::Store, || format!("delete {key}")),
            }
        }
        Ok(())
    }

    /// Whether both are whole in the mirror, as far as can be told without keys.
    async fn is_same(&self, one: &Key, other: &Key) -> Result<bool> {
        let one = self.read(self.target, one, 0).await?;
        let other = self.read(self.target, other, 0).await?;
        Ok(one.is_some() && one == other)
    }
}
