//! D2: large files of mixed content, where the cost of a byte is all that matters.
//!
//! A file is a row of segments. A few of them stand there a second time, at another place, so that cutting by content
//! has something to find.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Scale, database};
use crate::random::Random;
use crate::text::Writer;

const FILES: u64 = 2;
const FILE_BYTES: u64 = 1 << 30;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 20;
const REPEATED_PERCENT: u64 = 5;

pub(super) fn make(writer: &Writer, root: &Path, scale: Scale) -> Result<()> {
    let mut segments = 0;
    for number in 0..FILES {
        let path = root.join(format!("big{number}.bin"));
        let file = File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let mut random = Random::new("mixed file", number);
        let mut left = scale.of(FILE_BYTES) as usize;
        while left > 0 {
            let name = if random.chance(REPEATED_PERCENT) { random.below(segments + 1) } else { segments };
            segments = segments.max(name + 1);
            let mut content = segment(writer, name);
            content.truncate(left);
            left -= content.len();
            file.write_all(&content).with_context(|| format!("write {}", path.display()))?;
        }
        file.flush().with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn segment(writer: &Writer, name: u64) -> Vec<u8> {
    let mut random = Random::new("mixed segment", name);
    let bytes = (SEGMENT_BYTES_MIN + random.below(SEGMENT_BYTES_MAX - SEGMENT_BYTES_MIN)) as usize;
    let mut out = Vec::with_capacity(bytes + database::PAGE_BYTES);
    match random.below(20) {
        0..6 => writer.text(&mut random, &mut out, bytes),
        6..12 => writer.code(&mut random, &mut out, bytes),
        12..17 => {
            while out.len() < bytes {
                out.extend_from_slice(&database::page(writer, &mut random, name));
            }
        }
        _ => {
            out.resize(bytes, 0);
            random.fill(&mut out);
        }
    }
    out
}
