//! What a part of a restore or a verification needs from which pack: pure lists, no IO.
//!
//! Reading follows packs, not files: every needed group of a window of entries is read and decoded once, neighbours
//! in one request, and its slices go to all files that want them. A window is bounded in memory.

use hashbrown::HashMap;

use crate::ids::{BlobId, BlobRef, PackId};
use crate::pack::Footer;

/// Plain bytes of one batch of groups: what one reader holds at a time.
const BATCH_BYTES: u64 = 4 << 20;
/// Groups that lie further apart are read by different requests, so by different batches.
const BATCH_GAP_BYTES: u64 = 256 << 10;

/// A slice of a blob that a file wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Number of the pack in the plan.
    pub pack: u32,
    /// The blob's number in the pack.
    pub ordinal: u32,
    /// The blob's id: what is found there must have it.
    pub id: BlobId,
    /// Number of the file in the window.
    pub file: u32,
    /// Where in the file it goes.
    pub at: u64,
    /// Where in the blob it begins.
    pub from: u32,
    /// How long it is.
    pub bytes: u32,
}

/// All slices that one window of entries wants.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
    wants: Vec<Want>,
}

/// Groups of one pack that are read together, and what is wanted of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Groups, ascending.
    pub groups: Vec<u32>,
    /// Wants, in order of their blobs.
    pub wants: Vec<Want>,
}

impl Plan {
    /// Adds a slice that `file` wants at `at`.
    pub(crate) fn push(&mut self, file: u32, at: u64, blob: BlobRef, from: u32, bytes: u32) {
        let packs = &mut self.packs;
        let pack = *self.numbers.entry(blob.place.pack).or_insert_with(|| {
            packs.push(blob.place.pack);
            u32::try_from(packs.len() - 1).expect("a window has fewer wants than that")
        });
        self.wants.push(Want { pack, ordinal: blob.place.ordinal, id: blob.id, file, at, from, bytes });
    }

    /// How many slices are wanted.
    pub(crate) fn len(&self) -> usize {
        self.wants.len()
    }

    /// The wants of each pack in order of blobs; packs in order of first use, which is about that of paths.
    pub(crate) fn by_pack(mut self) -> Vec<(PackId, Vec<Want>)> {
        self.wants.sort_unstable_by_key(|w| (w.pack, w.ordinal, w.file, w.at));
        let chunks = self.wants.chunk_by(|a, b| a.pack == b.pack);
        chunks.map(|wants| (self.packs[wants[0].pack as usize], wants.to_vec())).collect()
    }
}

/// Cuts the wants of one pack into batches. Wants of blobs that the pack does not hold come back as second value.
pub(crate) fn batches(footer: &Footer, wants: Vec<Want>) -> (Vec<Batch>, Vec<Want>) {
    let (mut out, mut bad): (Vec<Batch>, _) = (Vec::new(), Vec::new());
    let (mut bytes, mut end) = (0, 0);
    for want in wants {
        let info = footer.blobs.get(want.ordinal as usize).filter(|b| b.id == want.id);
        let info = info.filter(|b| u64::from(want.from) + u64::from(want.bytes) <= u64::from(b.bytes));
        let Some((number, group)) = info.and_then(|b| Some((b.group, footer.groups.get(b.group as usize)?)))
        else {
            bad.push(want);
            continue;
        };
        let plain = u64::from(group.plain);
        match out.last_mut() {
            Some(batch) if batch.groups.last() == Some(&number) => batch.wants.push(want),
            Some(batch) if bytes + plain <= BATCH_BYTES && group.at <= end + BATCH_GAP_BYTES => {
                batch.groups.push(number);
                batch.wants.push(want);
                bytes += plain;
            }
            _ => {
                out.push(Batch { groups: vec![number], wants: vec![want] });
                bytes = plain;
            }
        }
        end = group.at + u64::from(group.stored);
    }
    (out, bad)
}

#[cfg(test)]
mod tests;
