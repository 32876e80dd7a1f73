//! Batches of ids, and where their blobs lie.

use std::collections::HashMap;

use repository::Result;
use repository::ids::{BlobId, PackId, Place};

use super::snapshot::{pack_from_wire, pack_to_wire};
use super::{bad, fixed};
use crate::{LOOKUP_IDS_MAX, v1};

const ID_BYTES: usize = 32;

/// Ids back to back.
#[must_use]
pub fn ids_to_wire(ids: &[BlobId]) -> v1::LookupRequest {
    v1::LookupRequest { ids: ids.iter().flat_map(|id| id.0).collect() }
}

/// At most [`LOOKUP_IDS_MAX`] of them.
pub fn ids_from_wire(request: &v1::LookupRequest) -> Result<Vec<BlobId>> {
    let bytes = &request.ids;
    if bytes.len() > LOOKUP_IDS_MAX * ID_BYTES {
        return Err(bad("ids", format!("more than {LOOKUP_IDS_MAX} ids in one call")));
    }
    if !bytes.len().is_multiple_of(ID_BYTES) {
        return Err(bad("ids", format!("{} bytes are no whole number of ids", bytes.len())));
    }
    bytes.chunks(ID_BYTES).map(|id| fixed(id, "ids").map(BlobId)).collect()
}

/// Each pack is named once.
#[must_use]
pub fn places_to_wire(places: &[Option<Place>]) -> v1::LookupResponse {
    let mut out = v1::LookupResponse::default();
    let mut numbers: HashMap<PackId, u32> = HashMap::new();
    for place in places {
        let Some(place) = place else {
            out.pack_numbers.push(0);
            out.ordinals.push(0);
            continue;
        };
        let number = *numbers.entry(place.pack).or_insert_with(|| {
            out.packs.push(pack_to_wire(place.pack));
            u32::try_from(out.packs.len()).unwrap_or(0)
        });
        out.pack_numbers.push(number);
        out.ordinals.push(place.ordinal);
    }
    out
}

/// Refuses an answer that is not for exactly `count` ids.
pub fn places_from_wire(response: &v1::LookupResponse, count: usize) -> Result<Vec<Option<Place>>> {
    if response.pack_numbers.len() != count || response.ordinals.len() != count {
        return Err(bad("pack_numbers", format!("{} answers for {count} ids", response.pack_numbers.len())));
    }
    let packs = response.packs.iter().map(|p| pack_from_wire(p)).collect::<Result<Vec<_>>>()?;
    let pairs = response.pack_numbers.iter().zip(&response.ordinals);
    pairs
        .map(|(&number, &ordinal)| {
            let Some(number) = number.checked_sub(1) else { return Ok(None) };
            let pack = usize::try_from(number).ok().and_then(|n| packs.get(n));
            let pack = pack.ok_or_else(|| bad("pack_numbers", format!("no pack {number}")))?;
            Ok(Some(Place { pack: *pack, ordinal }))
        })
        .collect()
}
