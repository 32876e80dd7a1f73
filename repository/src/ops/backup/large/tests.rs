//! Pieces cover the file once, in order, within segments, and holes are whole pages.

use super::*;
use proptest::prelude::*;

const PAGE: u64 = PAGE_BYTES as u64;

proptest! {
    #[test]
    fn pieces_cover_the_file(size in 1u64..80 << 20, cuts in proptest::collection::vec(0u64..80 << 20, 0..8), slab in 1u64..8) {
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|c| *c <= size).collect();
        cuts.sort_unstable();
        let holes: Vec<(u64, u64)> = cuts.chunks_exact(2).map(|c| (c[0], c[1])).collect();
        let slab = slab * 1024 * PAGE / 4;
        let pieces = plan_pieces(size, &holes, slab);
        let mut at = 0;
        for p in &pieces {
            prop_assert_eq!(p.offset, at);
            prop_assert!(p.bytes > 0 && p.offset % PAGE == 0);
            prop_assert!(p.offset / limits::SEGMENT_BYTES == (p.offset + p.bytes - 1) / limits::SEGMENT_BYTES);
            prop_assert!(p.hole || p.bytes <= slab);
            let end = p.offset + p.bytes;
            prop_assert!(end % PAGE == 0 || end == size);
            if p.hole {
                prop_assert!(holes.iter().any(|h| h.0 <= p.offset && end <= h.1));
            }
            at = end;
        }
        prop_assert_eq!(at, size);
    }
}
