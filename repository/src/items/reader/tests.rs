//! What was written is read back, with few requests; lies are noticed.

use std::collections::HashSet;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::items::sample::{KEY, Memory, any_entries, blob, file, tree};
use crate::items::segment;
use crate::items::writer::TreeWriter;

fn write(entries: &[Entry]) -> (Arc<Memory>, TreeReader) {
    let memory = Arc::new(Memory::default());
    let tree = block_on(async {
        let mut sink = &*memory;
        let mut writer = TreeWriter::new(KEY);
        for entry in entries {
            writer.push(&mut sink, entry).await.unwrap();
        }
        writer.finish(&mut sink).await.unwrap()
    });
    (Arc::clone(&memory), TreeReader::new(memory, tree.root))
}

fn read(reader: &TreeReader, range: Range) -> Result<Vec<Entry>> {
    block_on(reader.stream(range).try_collect())
}

fn check_damaged(reader: &TreeReader, what: &str) {
    let err = read(reader, Range::All).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Damaged);
    assert!(err.chain().contains(what), "{} lacks {what:?}", err.chain());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn ranges_come_back(entries in any_entries(150), at in any::<prop::sample::Index>()) {
        let (_, reader) = write(&entries);
        let top = if entries.is_empty() { Vec::new() } else { entries[at.index(entries.len())].path.clone() };
        for range in [Range::All, Range::Below(top.clone()), Range::Directory(top)] {
            let wanted: Vec<_> = entries.iter().filter(|e| range.keeps(&e.path)).cloned().collect();
            prop_assert_eq!(read(&reader, range).unwrap(), wanted);
        }
    }
}

#[test]
fn a_large_tree_comes_back() {
    let entries = tree(100, 500);
    let (memory, reader) = write(&entries);
    assert_eq!(read(&reader, Range::All).unwrap(), entries);
    assert_eq!(memory.gets(), memory.count(), "every node is read once");
    let below: Vec<_> = entries.iter().filter(|e| e.path.starts_with(b"folder-00050")).cloned().collect();
    assert_eq!(read(&reader, Range::Below(b"folder-00050".to_vec())).unwrap(), below);
}

#[test]
fn one_path_costs_one_node_a_level() {
    let entries = tree(100, 500);
    let (memory, reader) = write(&entries);
    let find = |path: &str| block_on(reader.find(path.as_bytes())).unwrap();
    assert_eq!(
        find("folder-00042/file-00123.txt"),
        Some(file("folder-00042/file-00123.txt", 42 * 501 + 124))
    );
    assert_eq!(memory.gets(), 4, "the root, a leaf, their usages");
    assert_eq!(find("folder-00042/none"), None);
    assert_eq!(find("zzz"), None);
    assert_eq!(find("").map(|e| e.kind), Some(Kind::Directory));
}

#[test]
fn listing_a_folder_leaves_its_subfolders_alone() {
    let (memory, reader) = write(&tree(3, 20_000));
    let paths: Vec<_> =
        read(&reader, Range::Directory(vec![])).unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(paths.len(), 4);
    assert!(memory.gets() <= 10, "{} gets", memory.gets());
}

#[test]
fn all_nodes_are_named_on_the_way() {
    let (memory, reader) = write(&tree(100, 500));
    let leaves: Vec<Leaf> = block_on(reader.leaves(Range::All).try_collect()).unwrap();
    let nodes: HashSet<NodeRef> = leaves.iter().flat_map(|l| l.nodes.iter().copied()).collect();
    assert_eq!(nodes.len() * 2, memory.count());
}

#[test]
fn places_are_all_that_is_needed() {
    let memory = Arc::new(Memory::default());
    let mut sink = &*memory;
    let entries = tree(40, 300);
    let (reader, large) = block_on(async {
        let places = vec![blob(3, 1).place, blob(3, 2).place];
        let large = segment::put_segment(&mut sink, b"segment".to_vec(), places).await.unwrap();
        let kind = Kind::File(crate::items::entry::Content::Segments(vec![large]));
        let mut writer = TreeWriter::new(KEY);
        for entry in &entries {
            writer.push(&mut sink, entry).await.unwrap();
        }
        writer.push(&mut sink, &Entry { kind, size: 5, ..file("large", 1) }).await.unwrap();
        let tree = writer.finish(&mut sink).await.unwrap();
        (TreeReader::new(Arc::clone(&memory) as Arc<dyn BlobFetch>, tree.root), large)
    });
    let mut found = HashSet::new();
    block_on(reader.places(&mut |p| {
        found.insert(p);
    }))
    .unwrap();
    let mut wanted: HashSet<Place> = entries.iter().flat_map(Entry::blobs).map(|b| b.place).collect();
    wanted.extend([blob(3, 1).place, blob(3, 2).place]);
    let metadata = memory.blobs.lock().unwrap().values().map(|v| v.0).collect::<Vec<_>>();
    wanted.extend(metadata.into_iter().map(|ordinal| blob(9, ordinal).place));
    assert_eq!(found, wanted);
    let read: Vec<_> = block_on(segment::segments(memory, vec![large]).try_collect()).unwrap();
    assert_eq!(read, [(Bytes::from_static(b"segment"), vec![blob(3, 1).place, blob(3, 2).place])]);
}

#[test]
fn a_node_that_is_not_what_its_branch_says_is_damage() {
    let entries = tree(40, 500);
    let (memory, reader) = write(&entries);
    let leaves: Vec<Leaf> = block_on(reader.leaves(Range::All).try_collect()).unwrap();
    let root = reader.root;
    let (first, second) = (leaves[0].nodes[1], leaves[1].nodes[0]);
    let (leaf, usage) = (memory.bytes(first.node.id), memory.bytes(first.usage.id));

    memory.forge(first.node.id, memory.bytes(second.node.id).to_vec());
    memory.forge(first.usage.id, memory.bytes(second.usage.id).to_vec());
    check_damaged(&reader, "paths are not those of its branch");

    // An entry left out.
    let mut fewer = leaves[0].entries.clone();
    fewer.remove(5);
    let mut encoder = leaf::LeafEncoder::default();
    fewer.iter().for_each(|e| encoder.push(e));
    let (bytes, fewer) = encoder.finish();
    memory.forge(first.node.id, bytes);
    memory.forge(first.usage.id, fewer.encode());
    check_damaged(&reader, "counts are not those of its branch");

    // A branch where a leaf should be.
    memory.forge(first.node.id, memory.bytes(root.node.id).to_vec());
    memory.forge(first.usage.id, memory.bytes(root.usage.id).to_vec());
    check_damaged(&reader, "leaf header");

    memory.forge(first.node.id, leaf[..leaf.len() - 1].to_vec());
    memory.forge(first.usage.id, usage.to_vec());
    check_damaged(&reader, "read leaf");

    // A root whose child is itself: its level does not descend.
    let mut branch =
        Branch::decode(&memory.bytes(root.node.id), &Usage::decode(&memory.bytes(root.usage.id)).unwrap());
    let branch = branch.as_mut().unwrap();
    branch.level = 2;
    branch.children[0].node = root;
    let (bytes, usage) = branch.encode();
    memory.forge(root.node.id, bytes);
    memory.forge(root.usage.id, usage.encode());
    check_damaged(&reader, "level is not the one below");
    let err = block_on(reader.places(&mut |_| ())).unwrap_err();
    assert!(err.to_string().contains("too deep"), "{err}");
}
