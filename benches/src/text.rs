//! Invented text and invented program code that compress about as well as the real ones: words come from a vocabulary
//! where the n-th word is used 1/n as often as the first, and some paragraphs stand in many files, as licences do.
//!
//! It takes nothing from the machine it runs on: real files differ from system to system.

use crate::random::Random;

const WORDS: usize = 20_000;
const PHRASES: usize = 16_384;
const PARAGRAPHS: usize = 2048;

/// Numbers below some end, small ones more often: n is drawn in proportion to 1/(n+1).
struct Skewed {
    table: Vec<u16>,
}

impl Skewed {
    /// For ends up to 65,536: each number has one slot of the table, and its share of those that are left.
    fn new(end: usize) -> Self {
        let slots = 1u64 << 16;
        let weight = |n: usize| (1u64 << 32) / (n as u64 + 1);
        let total: u64 = (0..end).map(weight).sum();
        let spare = slots - end as u64;
        let (mut table, mut before) = (Vec::new(), 0);
        for n in 0..end {
            before += weight(n);
            let filled = (n as u64 + 1) + before * spare / total;
            table.resize(filled as usize, n as u16);
        }
        Self { table }
    }

    fn draw(&self, random: &mut Random) -> usize {
        usize::from(self.table[usize::from(random.u16())])
    }
}

/// Writes text and code. Made once, used for all files.
pub struct Writer {
    words: Vec<Vec<u8>>,
    word: Skewed,
    phrases: Vec<Vec<u8>>,
    phrase: Skewed,
    paragraphs: Vec<Vec<u8>>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Makes up the vocabulary.
    #[must_use]
    pub fn new() -> Self {
        let mut random = Random::new("vocabulary", 0);
        let words = (0..WORDS).map(|_| word(&mut random)).collect();
        let phrases = (0..PHRASES).map(|_| phrase(&mut random)).collect();
        let (word, phrase) = (Skewed::new(WORDS), Skewed::new(PHRASES));
        let mut writer = Self { words, word, phrases, phrase, paragraphs: Vec::new() };
        writer.paragraphs = (0..PARAGRAPHS)
            .map(|_| {
                let mut paragraph = Vec::new();
                let lines = 4 + random.below(12);
                (0..lines).for_each(|_| writer.line(&mut random, &mut paragraph));
                paragraph
            })
            .collect();
        writer
    }

    fn one_word(&self, random: &mut Random) -> &[u8] {
        &self.words[self.word.draw(random)]
    }

    /// Appends `count` words with spaces between.
    pub fn words(&self, random: &mut Random, out: &mut Vec<u8>, count: u64) {
        for i in 0..count {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(self.one_word(random));
        }
    }

    fn line(&self, random: &mut Random, out: &mut Vec<u8>) {
        match random.below(10) {
            0 => {
                self.words(random, out, 1);
                out.push(b'.');
                self.words(random, out, 1);
                out.extend_from_slice(format!(" = {}", random.below(100_000)).as_bytes());
            }
            1 | 2 => {
                out.extend_from_slice(b"    ");
                self.words(random, out, 1);
                out.push(b'(');
                self.words(random, out, 1);
                out.extend_from_slice(b", ");
                self.words(random, out, 1);
                out.extend_from_slice(b");");
            }
            3 => {
                out.extend_from_slice(format!("{:08x} ", random.u32()).as_bytes());
                self.words(random, out, 3);
            }
            _ => {
                let count = 8 + random.below(6);
                self.words(random, out, count);
                out.push(b'.');
            }
        }
        out.push(b'\n');
    }

    /// Appends `bytes` bytes of text.
    pub fn text(&self, random: &mut Random, out: &mut Vec<u8>, bytes: usize) {
        let end = out.len() + bytes;
        while out.len() < end {
            if random.chance(10) {
                out.extend_from_slice(&self.paragraphs[random.index(PARAGRAPHS)]);
            } else {
                self.line(random, out);
            }
        }
        out.truncate(end);
    }

    /// Appends `bytes` bytes of what looks like machine code: frequent short sequences with operands between.
    pub fn code(&self, random: &mut Random, out: &mut Vec<u8>, bytes: usize) {
        let end = out.len() + bytes;
        while out.len() < end {
            out.extend_from_slice(&self.phrases[self.phrase.draw(random)]);
            if random.chance(20) {
                out.extend_from_slice(&random.u16().to_le_bytes());
            }
        }
        out.truncate(end);
    }
}

fn word(random: &mut Random) -> Vec<u8> {
    const SYLLABLES: [&str; 32] = [
        "a", "al", "an", "ar", "be", "ca", "con", "de", "di", "e", "en", "er", "fo", "gra", "i", "in", "ing",
        "la", "lo", "men", "ni", "o", "or", "pre", "re", "ro", "se", "sta", "te", "ti", "tion", "u",
    ];
    let count = 1 + random.below(4);
    (0..count).flat_map(|_| SYLLABLES[random.index(SYLLABLES.len())].bytes()).collect()
}

fn phrase(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; 2 + random.index(9)];
    random.fill(&mut bytes);
    // Zeros are the most frequent byte of real programs.
    for byte in bytes.iter_mut().filter(|byte| **byte < 48) {
        *byte = 0;
    }
    bytes
}

#[cfg(test)]
mod tests;
