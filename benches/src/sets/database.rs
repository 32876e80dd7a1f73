//! D3: a database's file. Pages of 8 KiB have a header, line pointers, free room in the middle and rows at the end.
//!
//! The second version, with 1 % of the pages changed at scattered places, is what `change` makes of the first.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::Scale;
use crate::random::Random;
use crate::text::Writer;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 8192;

/// The file's name in the set's folder.
pub const FILE_NAME: &str = "table.db";

const FILE_BYTES: u64 = 2 << 30;
const HEADER_BYTES: usize = 24;
const POINTER_BYTES: usize = 4;

pub(super) fn make(writer: &Writer, root: &Path, scale: Scale) -> Result<()> {
    let path = root.join(FILE_NAME);
    let file = File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    for number in 0..(scale.of(FILE_BYTES) / PAGE_BYTES as u64).max(1) {
        let content = page(writer, &mut Random::new("database page", number), number);
        file.write_all(&content).with_context(|| format!("write {}", path.display()))?;
    }
    file.flush().with_context(|| format!("write {}", path.display()))
}

/// A page that says it has this number. Between 55 and 95 % of it are filled.
pub(super) fn page(writer: &Writer, random: &mut Random, number: u64) -> Vec<u8> {
    let full = PAGE_BYTES * (55 + random.index(41)) / 100;
    let mut rows: Vec<Vec<u8>> = Vec::new();
    let mut used = HEADER_BYTES;
    loop {
        let row = row(writer, random, number * 64 + rows.len() as u64);
        used += row.len() + POINTER_BYTES;
        if used > full {
            break;
        }
        rows.push(row);
    }
    let mut page = vec![0; PAGE_BYTES];
    page[0..8].copy_from_slice(&(random.u64() >> 16).to_le_bytes());
    page[8..16].copy_from_slice(&number.to_le_bytes());
    page[16..24].copy_from_slice(&(rows.len() as u64).to_le_bytes());
    let mut end = PAGE_BYTES;
    for (i, row) in rows.iter().enumerate() {
        page[end - row.len()..end].copy_from_slice(row);
        end -= row.len();
        let pointer = HEADER_BYTES + i * POINTER_BYTES;
        page[pointer..pointer + 2].copy_from_slice(&(end as u16).to_le_bytes());
        page[pointer + 2..pointer + 4].copy_from_slice(&(row.len() as u16).to_le_bytes());
    }
    page
}

/// An id, a time, a measured value, a few flags and some words.
fn row(writer: &Writer, random: &mut Random, id: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(256);
    row.extend_from_slice(&id.to_le_bytes());
    row.extend_from_slice(&(1_700_000_000_000 + random.below(10_000_000_000)).to_le_bytes());
    row.extend_from_slice(&random.u64().to_le_bytes());
    row.extend_from_slice(&[random.below(2) as u8, random.below(5) as u8, 0, 0]);
    let words = 3 + random.below(22);
    writer.words(random, &mut row, words);
    row
}
