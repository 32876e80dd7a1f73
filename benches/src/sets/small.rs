//! D1: small text files in many folders, where the cost of a file matters more than the cost of a byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Scale;
use crate::random::Random;
use crate::text::Writer;

const FILES: u64 = 100_000;
const FILES_PER_FOLDER: u64 = 100;
const FOLDERS_PER_FOLDER: u64 = 25;

/// Quarters of an octave from 1 KiB to 2 KiB: with four octaves above, lengths are even on a logarithmic scale.
const QUARTERS: [u64; 5] = [1024, 1218, 1448, 1722, 2048];

pub(super) fn make(writer: &Writer, root: &Path, scale: Scale) -> Result<()> {
    let files = scale.of(FILES);
    let folders = files.div_ceil(FILES_PER_FOLDER);
    for folder in 0..folders {
        let path = root.join(folder_name(folder));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    }
    let mut content = Vec::new();
    for number in 0..files {
        let mut random = Random::new("small file", number);
        let bytes = length(&mut random);
        content.clear();
        content.extend_from_slice(format!("# file {number}\n").as_bytes());
        let rest = bytes - content.len();
        writer.text(&mut random, &mut content, rest);
        let path = root.join(folder_name(number % folders)).join(format!("{number:06}.txt"));
        fs::write(&path, &content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn folder_name(number: u64) -> String {
    format!("{:02}/{:02}", number / FOLDERS_PER_FOLDER, number % FOLDERS_PER_FOLDER)
}

fn length(random: &mut Random) -> usize {
    let (octave, quarter) = (random.below(4), random.index(4));
    let (low, high) = (QUARTERS[quarter] << octave, QUARTERS[quarter + 1] << octave);
    (low + random.below(high - low)) as usize
}
