//! Shard files are checked whole: cut, longer or flipped ones are refused, never a panic.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use super::{Shard, ShardWriter};
use crate::ids::Place;
use crate::index::tests::{id, pack};
use crate::index::{Entry, prefix};

fn written(entries: u32) -> Vec<u8> {
    let mut sorted: Vec<_> =
        (0..entries).map(|n| Entry { prefix: prefix(&id(n)), pack: n % 2, ordinal: n }).collect();
    sorted.sort();
    let file = tempfile::tempfile().unwrap();
    let mut writer = ShardWriter::create(file, sorted.len()).unwrap();
    for e in &sorted {
        writer.push(e).unwrap();
    }
    let mut file = writer.finish(&[pack(0), pack(1)], b"notes").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Option<Shard> {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Shard::open(&file).ok()
}

#[test]
fn finds_every_entry_at_any_size() {
    for entries in [0, 1, 2, 63, 64, 200, 20_000] {
        let shard = open(&written(entries)).unwrap();
        for n in 0..entries {
            let place = Place { pack: pack(u8::try_from(n % 2).unwrap()).id, ordinal: n };
            assert_eq!(shard.find(&prefix(&id(n)), &mut |_| true), Some(place));
        }
        assert_eq!(shard.find(&prefix(&id(entries)), &mut |_| true), None);
        assert_eq!(shard.find(&[0xff; 16], &mut |_| true), None);
        assert_eq!(shard.notes(), b"notes");
    }
}

#[test]
fn anything_but_what_was_written_is_refused() {
    let whole = written(10);
    assert!(open(&whole).is_some());
    for n in 0..whole.len() {
        assert!(open(&whole[..n]).is_none(), "cut to {n}");
        let mut bad = whole.clone();
        bad[n] ^= 0x10;
        assert!(open(&bad).is_none(), "byte {n}");
    }
    assert!(open(&[&whole[..], &[0]].concat()).is_none());
}
