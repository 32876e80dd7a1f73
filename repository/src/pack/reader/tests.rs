//! Packs are read back whole and in parts with few requests; every damage is named, none is believed.

use std::sync::Arc;

use super::*;
use crate::blob::compress::Codec;
use crate::env::Env;
use crate::ids::{DomainName, Place, RepoId, Sid};
use crate::pack::PackKind;
use crate::pack::frame::padded;
use crate::pack::writer::{FinishedPack, PackBuilder};
use crate::store::RemoteStore;
use crate::store::{CountedStore, Counts};
use crate::store::{Op, Store};
use proptest::prelude::*;

struct Setup {
    keys: Arc<DomainKeys>,
    layout: Layout,
    store: Arc<dyn Store>,
    counts: Arc<Counts>,
    reader: BlobReader,
}

fn setup() -> Setup {
    let keys = Arc::new(DomainKeys::generate(RepoId([1; 16]), DomainName::default_domain(), &Env::system()));
    let layout = Layout::new(DomainName::default_domain());
    let counts = Arc::new(Counts::default());
    let store: Arc<dyn Store> =
        Arc::new(CountedStore::new(Arc::new(RemoteStore::memory()), Arc::clone(&counts)));
    let pool = Pool::new(1).unwrap();
    let reader = BlobReader::new(Arc::clone(&store), layout.clone(), Arc::clone(&keys), pool);
    Setup { keys, layout, store, counts, reader }
}

fn noise(seed: u64, len: usize) -> Bytes {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    Bytes::from(out)
}

/// A pack with one group for each list of blob sizes.
fn build(keys: &DomainKeys, groups: &[Vec<usize>]) -> (FinishedPack, Vec<BlobRef>, Vec<Bytes>) {
    let mut builder = PackBuilder::new(keys, Sid([2; 16]), PackKind::Data, &Env::system(), 1 << 20);
    let (mut refs, mut plain) = (Vec::new(), Vec::new());
    for sizes in groups {
        let blobs: Vec<(BlobId, Bytes)> = sizes
            .iter()
            .map(|&n| noise(plain.len() as u64 * 1000 + refs.len() as u64 + n as u64, n))
            .map(|b| (keys.blob_id(&b), b))
            .collect();
        let first = builder.append(&group::build(&blobs, 1));
        for (i, (id, bytes)) in blobs.into_iter().enumerate() {
            let place = Place { pack: builder.id(), ordinal: first + u32::try_from(i).unwrap() };
            refs.push(BlobRef { id, place });
            plain.push(bytes);
        }
    }
    (builder.finish(keys).unwrap(), refs, plain)
}

async fn put(s: &Setup, pack: &FinishedPack, bytes: Bytes) {
    s.store.put_new(&s.layout.pack(pack.pack.id), bytes).await.unwrap();
}

#[tokio::test]
async fn blobs_come_back() {
    let s = setup();
    let (pack, refs, plain) =
        build(&s.keys, &[vec![10, 0, 70_000], vec![300_000], vec![5; 2000], vec![65_536]]);
    put(&s, &pack, pack.bytes.clone()).await;
    for (blob, plain) in refs.iter().zip(&plain).rev() {
        assert_eq!(s.reader.get(*blob).await.unwrap(), plain);
    }
    assert_eq!(*s.reader.footer(pack.pack.id).await.unwrap(), pack.footer);
    let data = s.reader.read_groups(pack.pack.id, &[3, 0, 0]).await.unwrap();
    assert_eq!(data.iter().map(|d| d.group).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(data[1].first_ordinal as usize, refs.len() - 1);
}

#[tokio::test]
async fn reading_all_groups_takes_few_requests() {
    let s = setup();
    let (pack, ..) = build(&s.keys, &vec![vec![200_000]; 30]);
    put(&s, &pack, pack.bytes.clone()).await;
    let all: Vec<u32> = (0..30).collect();
    assert_eq!(s.reader.read_groups(pack.pack.id, &all).await.unwrap().len(), 30);
    assert!(
        s.counts.requests(Op::Get) <= 3,
        "one for the tail, one for all groups: {}",
        s.counts.requests(Op::Get)
    );
}

#[tokio::test]
async fn a_footer_longer_than_the_first_read_is_read_on() {
    let s = setup();
    let (pack, refs, plain) = build(&s.keys, &vec![vec![1; 500]; 30]);
    assert!(pack.footer.encode().len() as u64 > TAIL_READ_BYTES);
    put(&s, &pack, pack.bytes.clone()).await;
    assert_eq!(s.reader.get(refs[7000]).await.unwrap(), plain[7000]);
}

#[tokio::test]
async fn every_flipped_byte_is_noticed() {
    let whole = setup();
    let (pack, refs, _) = build(&whole.keys, &[vec![20, 30], vec![40]]);
    for at in 0..pack.bytes.len() {
        let store: Arc<dyn Store> = Arc::new(RemoteStore::memory());
        let mut bytes = pack.bytes.to_vec();
        bytes[at] ^= 4;
        store.put_new(&whole.layout.pack(pack.pack.id), Bytes::from(bytes)).await.unwrap();
        let pool = Pool::new(1).unwrap();
        let reader = BlobReader::new(store, whole.layout.clone(), Arc::clone(&whole.keys), pool);
        let err = reader.get(refs[0]).await.expect_err("damage is noticed");
        assert_eq!(err.kind(), ErrorKind::Damaged, "byte {at}: {}", err.chain());
    }
}

#[tokio::test]
async fn a_damaged_neighbour_hides_no_healthy_blob() {
    let s = setup();
    let (pack, refs, plain) = build(&s.keys, &vec![vec![100_000]; 20]);
    let mut bytes = pack.bytes.to_vec();
    bytes[150_000] ^= 1;
    put(&s, &pack, Bytes::from(bytes)).await;
    assert_eq!(s.reader.get(refs[0]).await.unwrap(), plain[0]);
    assert_eq!(s.reader.get(refs[1]).await.unwrap_err().kind(), ErrorKind::Damaged);
}

/// What a damaged frame costs: the groups that lie in it, or everything if the footer does.
#[tokio::test]
async fn every_damaged_frame_costs_its_own_blobs_only() {
    let whole = setup();
    let sizes = (0..40).map(|i| if i % 4 == 0 { vec![20_000; 9] } else { vec![30_000 + i * 3000] });
    let (pack, refs, plain) = build(&whole.keys, &sizes.collect::<Vec<_>>());
    let shape = Shape::of(pack.bytes.len() as u64).unwrap();
    let footer_bytes = (pack.footer.encode().len() + TRAILER_LEN) as u64;
    let footer_frames = shape.frames_of(&(shape.plain_len - footer_bytes..shape.plain_len));
    assert!(shape.frames > 20, "{shape:?}");
    for frame in 0..shape.frames {
        let s = setup();
        let mut bytes = pack.bytes.to_vec();
        let at = shape.stored(&(frame..frame + 1));
        bytes[usize::try_from((at.start + at.end) / 2).unwrap()] ^= 1;
        let pool = Pool::new(1).unwrap();
        let reader = BlobReader::new(Arc::clone(&s.store), s.layout.clone(), Arc::clone(&whole.keys), pool);
        put(&s, &pack, Bytes::from(bytes)).await;
        for (blob, plain) in refs.iter().zip(&plain) {
            let info = pack.footer.blobs[blob.place.ordinal as usize];
            let group = pack.footer.groups[info.group as usize];
            let frames = shape.frames_of(&(group.at..group.at + u64::from(group.stored)));
            let lost = frames.contains(&frame) || footer_frames.contains(&frame);
            match reader.get(*blob).await {
                Ok(bytes) => assert!(!lost && bytes == plain, "frame {frame}, {:?}", blob.place),
                Err(e) => {
                    assert!(lost, "frame {frame} hides {:?}: {}", blob.place, e.chain());
                    assert!(e.chain().contains(&format!("frame {frame} ")), "{}", e.chain());
                }
            }
        }
    }
}

#[tokio::test]
async fn missing_cut_and_foreign_packs_are_named() {
    let s = setup();
    let (pack, refs, _) = build(&s.keys, &[vec![100_000]]);
    assert_eq!(s.reader.get(refs[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
    let (other, ..) = build(&s.keys, &[vec![100_000]]);
    put(&s, &pack, other.bytes).await;
    let err = s.reader.get(refs[0]).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Damaged, "another pack under this name");
    for keep in [0, 10, 64, 72, 1000, pack.bytes.len() - 1] {
        let cut = setup();
        let reader = BlobReader::new(
            Arc::clone(&cut.store),
            s.layout.clone(),
            Arc::clone(&s.keys),
            Pool::new(1).unwrap(),
        );
        put(&cut, &pack, pack.bytes.slice(..keep)).await;
        assert_eq!(reader.get(refs[0]).await.unwrap_err().kind(), ErrorKind::Damaged, "cut to {keep}");
    }
    let wrong = BlobRef { id: BlobId([9; 32]), ..refs[0] };
    assert_eq!(s.reader.get(wrong).await.unwrap_err().kind(), ErrorKind::Damaged);
}

proptest! {
    #[test]
    fn any_bytes_are_no_footer_or_a_sound_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(footer) = Footer::decode(&bytes) {
            prop_assert_eq!(footer.encode(), bytes);
        }
    }

    #[test]
    fn footers_come_back(groups in proptest::collection::vec((1u32..9999, proptest::collection::vec((any::<[u8; 32]>(), 0u32..5000), 0..5)), 0..6)) {
        let mut footer = Footer::default();
        for (stored, blobs) in &groups {
            let blobs: Vec<_> = blobs.iter().map(|(id, n)| (BlobId(*id), *n)).collect();
            footer.push_group(Codec::Zstd, *stored, &blobs);
        }
        prop_assert_eq!(Footer::decode(&footer.encode()).unwrap(), footer);
    }

    #[test]
    fn padding_is_small_and_shapes_fit(len in 1u64..40 << 20) {
        let p = padded(len);
        prop_assert!(p >= len && (p - len) * 8 <= len.max(512) + 8 * 65_536);
        let frames = p.div_ceil(FRAME_BYTES as u64);
        let shape = Shape::of(p + frames * 16 + TAIL_LEN as u64).unwrap();
        prop_assert_eq!((shape.plain_len, u64::from(shape.frames)), (p, frames));
    }
}
