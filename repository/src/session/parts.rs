//! GC records that are too large for one object: their bytes lie in parts beside them, and the record names these.
//!
//! Parts are written before the record that names them. Those that no record names are tidied once the generation is done.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::Context as _;
use crate::ids::Generation;
use crate::index::objects::{Objects, Whose};
use crate::layout::ObjectKind;
use crate::limits::{CATALOGUE_FETCHES, GC_RECORD_BYTES, GC_RECORD_PARTS_MAX};
use crate::manifest::gc::{PartName, decode_split, encode_split};
use crate::{Error, ErrorKind, Result};

/// Stores a part under a new random name, which is returned.
pub(crate) async fn put(
    objects: &Objects,
    generation: Generation,
    of: &str,
    plain: &[u8],
) -> Result<PartName> {
    let name: PartName = objects.env.random();
    let key = objects.layout.gc_part(generation, of, name);
    let sealed = objects.seal(ObjectKind::Gc, &key, plain);
    match objects.put_own(&key, &sealed).await? {
        Whose::Ours => Ok(name),
        Whose::Others(_) => {
            Err(Error::new(ErrorKind::Internal, format!("{key} is there: random names repeat")))
        }
    }
}

/// Reads a part. Fails with `NotFound` where it is gone.
pub(crate) async fn get(
    objects: &Objects,
    generation: Generation,
    of: &str,
    name: PartName,
) -> Result<Vec<u8>> {
    let key = objects.layout.gc_part(generation, of, name);
    let found = objects.find(ObjectKind::Gc, &key).await?;
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{key} is gone: a record names it")))
}

/// What to store as the record: itself, or the names of the parts that hold it, which are stored then.
pub(crate) async fn split(
    objects: &Objects,
    generation: Generation,
    of: &str,
    plain: Vec<u8>,
) -> Result<Vec<u8>> {
    if plain.len() <= GC_RECORD_BYTES {
        return Ok(plain);
    }
    let count = plain.len().div_ceil(GC_RECORD_BYTES);
    if count > GC_RECORD_PARTS_MAX {
        let what = format!("the {of} record of generation {generation} would have {} bytes", plain.len());
        return Err(Error::new(ErrorKind::Internal, what));
    }
    let mut names = Vec::with_capacity(count);
    for part in plain.chunks(GC_RECORD_BYTES) {
        names.push(put(objects, generation, of, part).await?);
    }
    Ok(encode_split(&names))
}

/// The record that was stored as `plain`.
pub(crate) async fn whole(
    objects: &Objects,
    generation: Generation,
    of: &str,
    plain: Vec<u8>,
) -> Result<Vec<u8>> {
    let names = named(objects, generation, of, &plain)?;
    if names.is_empty() {
        return Ok(plain);
    }
    let reads: Vec<_> = names.into_iter().map(|name| get(objects, generation, of, name)).collect();
    let parts: Vec<Vec<u8>> = stream::iter(reads).buffered(CATALOGUE_FETCHES).try_collect().await?;
    Ok(parts.concat())
}

/// The parts that a stored record names.
pub(crate) fn named(
    objects: &Objects,
    generation: Generation,
    of: &str,
    plain: &[u8],
) -> Result<Vec<PartName>> {
    let what = || format!("read {}", objects.layout.gc(generation, of));
    let names = decode_split(plain).context(ErrorKind::Damaged, what)?.unwrap_or_default();
    if names.len() > GC_RECORD_PARTS_MAX {
        return Err(Error::new(ErrorKind::Damaged, format!("{}: too many parts", what())));
    }
    Ok(names)
}
