//! Every bound of the engine, beside its reason. Bytes unless the name says otherwise.

/// Plain bytes of a pack's body at which it is closed: few requests per terabyte, bounded memory in flight.
pub const PACK_BODY_BYTES: usize = 32 << 20;
/// Body bytes of a metadata pack: it waits in memory for the data packs that it refers to.
pub const META_PACK_BODY_BYTES: usize = 8 << 20;
/// No pack may be larger, whatever a store says: a reader never allocates more for one.
pub const PACK_BYTES_MAX: u64 = 256 << 20;
/// Plain bytes of one AEAD frame of a pack.
pub const FRAME_BYTES: usize = 64 << 10;
/// A group of small blobs is closed at this size: larger gains little compression and costs single-file restores.
pub const GROUP_BYTES: usize = 256 << 10;
/// Blobs up to this size share a group.
pub const SMALL_BLOB_BYTES: usize = 64 << 10;
/// No blob is larger: the chunker's maximum, with room for metadata.
pub const BLOB_BYTES_MAX: usize = 16 << 20;
/// Blobs in one pack.
pub const PACK_BLOBS_MAX: usize = 1 << 20;

/// A sealed small object (outcome, registration, delta, key wrap) is never larger: none is put, none is read.
pub const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Credentials of one domain: a wrong passphrase costs a stretching for each passphrase among them.
pub const CREDENTIALS_MAX: usize = 256;
/// A credential's label, for people.
pub const LABEL_BYTES_MAX: usize = 64;
/// A stored key ring: far above what `CREDENTIALS_MAX` and thousands of epochs need. Larger objects are not looked at.
pub const RING_BYTES_MAX: u64 = 1 << 20;
/// A change of keys is made again this often when others change them at the same time.
pub const RING_TRIES_MAX: u32 = 16;

/// What a repository's metadata may take in the cache folder of this machine.
pub const CACHE_BYTES_MAX: u64 = 512 << 20;

/// A page: the unit in which changed large files are compared.
pub const PAGE_BYTES: usize = 16 << 10;
/// Pages of one segment (16 MiB of a file).
pub const SEGMENT_PAGES: usize = 1024;
/// Bytes of a file that one segment describes.
pub const SEGMENT_BYTES: u64 = (SEGMENT_PAGES * PAGE_BYTES) as u64;
/// Files above this size keep marks and segments.
pub const LARGE_FILE_BYTES: u64 = 256 << 10;
/// Files up to this size lie in the item stream itself.
pub const INLINE_BYTES: usize = 256;
/// Changed runs from this length on are cut by content; shorter ones are gathered.
pub const LONG_RUN_BYTES: usize = 1 << 20;
/// Gathered pages make blobs up to this size.
pub const GATHER_BYTES: usize = 256 << 10;
/// Aligned zero pages of this length together are never part of a chunk; fewer may be, inside changed runs.
pub const LONG_ZERO_BYTES: usize = 64 << 10;
/// A changed file may store so many times what changed again of little-used blobs. Over a hundred versions it is half
/// of once; but blobs first stored together get little used together, and with once the space they keep reaches 1.75
/// times what is live, with twice 1.56, with three times no less.
pub const AGAIN_SHARE: u64 = 2;
/// A changed file may store this much of little-used blobs again, however little of it changed.
pub const AGAIN_BYTES_MIN: u64 = 1 << 20;

/// A leaf of the item stream is not cut before this size.
pub const LEAF_BYTES_MIN: usize = 16 << 10;
/// A leaf is cut at an entry whose path hash says so, on average every this many bytes beyond the minimum.
pub const LEAF_BYTES_AVG: usize = 64 << 10;
/// A leaf is cut here whatever its paths say.
pub const LEAF_BYTES_MAX: usize = 512 << 10;
/// Children of one branch of the item tree, at most.
pub const BRANCH_CHILDREN_MAX: usize = 1024;
/// Levels of the item tree: 1024-fold branching never needs more.
pub const TREE_DEPTH_MAX: usize = 8;
/// A leaf is also cut here, counting whole paths: front coding must not let one small leaf fill the memory.
pub const LEAF_PATH_BYTES_MAX: usize = 4 << 20;
/// Entries of one leaf: follows from `LEAF_BYTES_MAX`, for a reader that must not believe a count.
pub const LEAF_ENTRIES_MAX: usize = LEAF_BYTES_MAX / 16;
/// A branch is not cut before this many children, so that levels always shrink.
pub const BRANCH_CHILDREN_MIN: usize = 32;
/// A branch is cut at a child whose path hash says so, on average every this many beyond the minimum. A power of two.
pub const BRANCH_CHILDREN_AVG: usize = 128;
/// A branch is also cut here, counting its children's whole last paths.
pub const BRANCH_PATH_BYTES_MAX: usize = 1 << 20;
/// References of one entry: its ids in the leaf, and those in the leaf's usage, must fit `BLOB_BYTES_MAX`.
pub const NODE_REFS_MAX: usize = 320 << 10;
/// The largest file: its segments are references of one leaf (5 TiB).
pub const FILE_BYTES_MAX: u64 = NODE_REFS_MAX as u64 * SEGMENT_BYTES;
/// Attribute sets up to this size are stored once a leaf (labels, ACLs); larger ones with each entry.
pub const XATTR_SHARED_BYTES_MAX: usize = 512;
/// Leaves that a reader of the item stream fetches ahead.
pub const LEAVES_AHEAD: usize = 4;
/// Usage blobs that are fetched at once when a snapshot's places are gathered.
pub const USAGES_AHEAD: usize = 8;

/// Longest path inside a volume. Linux' PATH_MAX does not bound relative walks; this does.
pub const PATH_BYTES_MAX: usize = 64 << 10;
/// Longest name of one entry (NAME_MAX is 255 everywhere we read).
pub const NAME_BYTES_MAX: usize = 255;
/// All extended attributes of one entry.
pub const XATTR_BYTES_MAX: usize = 1 << 20;
/// Names of directories that are being walked, in memory; more go to a temporary file.
pub const LISTED_NAMES_BYTES_MAX: usize = 32 << 20;
/// Directories on the way down that a walk keeps open: far below the usual 1024 descriptors of a process.
pub const OPEN_LEVELS_MAX: usize = 256;
/// Longest symlink target.
pub const SYMLINK_BYTES_MAX: usize = 64 << 10;

/// Default bound on the memory of an agent's or CLI's backup work.
pub const MEMORY_BYTES: usize = 256 << 20;
/// An index delta is published after this many packs.
pub const DELTA_PACKS: usize = 64;
/// An index delta is published after this many seconds, if there is a pack to name.
pub const DELTA_SECONDS: i64 = 120;
/// A backup that is to stop may take this long to do so by itself, and again to publish what it stored: then it is
/// left where it stands, because a store may never answer.
pub const STOP_SECONDS: u64 = 4;
/// A parent's entry with a ctime this short before the parent's start is read again (mmap writes may not show yet).
pub const FRESH_CTIME_SECONDS: i64 = 120;
/// Files with several names that a backup remembers between their names; further ones are read once for each name.
pub const LINKED_FILES_MAX: usize = 64 << 10;
/// What is kept of them; a sixteenth of the default memory.
pub const LINKED_BYTES_MAX: usize = 16 << 20;
/// Every file is read again within so many days, whatever its times say: a thirtieth of the volume a day.
pub const REREAD_DAYS: u32 = 30;
/// A file that changes while being read is read this often before it is stored as it is, marked.
pub const CHANGED_READS_MAX: u32 = 3;

/// An index delta is split above this: a process that reads many holds few of them at once.
pub const INDEX_DELTA_BYTES: usize = 8 << 20;
/// Entries of the index in memory (about 32 bytes each) at which they go into a shard on disk.
pub const INDEX_TABLE_ENTRIES: usize = 512 << 10;
/// Shards of one index at which they are merged into one: each costs a search per lookup.
pub const INDEX_SHARDS_MAX: usize = 8;
/// Entries of one stored shard of the index, before sealing: a process holds few of them at once.
pub const INDEX_SHARD_BYTES: usize = 8 << 20;
/// Shards of the stored index fetched at once.
pub const INDEX_SHARD_FETCHES: usize = 2;
/// Deltas that are worth a new root: fewer are read as fast.
pub const INDEX_DELTAS_MIN: usize = 32;
/// So many deltas are worth a new root whatever its size: each is a request for whoever has no cache.
pub const INDEX_DELTAS_MAX: usize = 1024;
/// A new root is written when what is new is a share of one in this of what there is, so that all writing of roots together is
/// so many times the index; and when a share of one in this of its packs is gone.
pub const INDEX_SHARE: u64 = 8;
/// Deltas that one root stands for: 28 bytes each in an object that must be readable.
pub const INDEX_ROOT_DELTAS: usize = 1 << 20;
/// An index is loaded again this often when a collector tidies under it.
pub const INDEX_LOADS_MAX: u32 = 4;
/// Sweeps that are read to drop what is gone from a local index; of older ones what is left costs a request a pack.
pub const INDEX_SWEEPS_MAX: usize = 64;
/// Deltas fetched at once while an index is loaded.
pub const INDEX_FETCHES: usize = 8;
/// Footers of packs (192 KiB each with what comes along) fetched at once.
pub const FOOTER_FETCHES: usize = 16;
/// Small records (outcomes) fetched at once.
pub const RECORD_FETCHES: usize = 16;
/// A snapshot's summary up to this size lies in its outcome; a larger one in metadata blobs.
pub const SUMMARY_INLINE_BYTES: usize = 32 << 10;
/// A summary's piece is not cut before this size.
pub const SUMMARY_PIECE_BYTES_MIN: usize = 16 << 10;
/// Beyond the minimum it is cut at a pack that its id chooses, on average after this many bytes.
pub const SUMMARY_PIECE_BYTES_AVG: usize = 32 << 10;
/// It is cut here whatever the ids say.
pub const SUMMARY_PIECE_BYTES_MAX: usize = 256 << 10;
/// A registration is tried again this often when the generation moves under it (each move is a whole GC run).
pub const REGISTRATIONS_MAX: u32 = 16;
/// Items of a list in one audit record: it is read by people, and the counts beside the lists are whole.
pub const AUDIT_EVENT_ITEMS_MAX: usize = 10_000;
/// A commit that is refused (each time after a whole GC run) is tried again under another sid this often.
pub const COMMITS_MAX: u32 = 16;
/// A backup goes over its tree again this often, to choose anew what was condemned meanwhile (each time by a whole GC run).
pub const PASSES_MAX: u32 = 16;
/// A backup looks this often whether the generation has moved: a collector waits for it so long.
pub const FOLLOW_SECONDS: u64 = 60;
/// Places of a blob that a backup asks for before it stores the blob again: each may cost a request.
pub const PLACES_TRIED: usize = 4;
/// Packs of which one record of proofs speaks: 36 bytes each, so that a record stays well below [`OBJECT_BYTES_MAX`].
pub const PROOF_PACKS_MAX: usize = 500_000;
/// Records of proofs that there may be before they are folded into one; each is a request for whoever asks.
pub const PROOF_RECORDS_MAX: usize = 24;
/// A scrub records what it has read every so many packs: what a stop loses is read again.
pub const PROOF_PACKS_EVERY: usize = 256;
/// Packs that a scrub reads at once.
pub const SCRUB_PACKS_AT_ONCE: usize = 2;
/// Bytes of a pack that a scrub holds at once, sealed or plain, for each pack that it reads.
pub const SCRUB_READ_BYTES: u64 = 8 << 20;
/// Packs that a restore, a backup or a compaction reads whole because it met damage in them: nobody waits long for what is not its work.
pub const MET_PACKS_MAX: usize = 16;
/// A repair tries so many names for a delta: each that is taken is another repair's.
pub const REPAIR_DELTAS_TRIED_MAX: u32 = 64;
/// A repair that is fenced by a GC starts again so often.
pub const REPAIR_TRIES_MAX: u32 = 3;
/// Snapshots of which all branches are read to find the leaves of a lost one.
pub const SALVAGE_NEIGHBOURS_MAX: usize = 4;
/// Files of a sample that a restore test restores: each is a pattern that every entry is compared with.
pub const RESTORE_TEST_FILES_MAX: usize = 500;
/// A restore test fills at most this share of the free space, percent.
pub const RESTORE_TEST_ROOM_PERCENT: u64 = 80;
/// A small object is put this often when replies are lost and it is not there.
pub const PUTS_MAX: u32 = 3;
/// Locks that are extended at once.
pub const LOCK_REQUESTS_AT_ONCE: usize = 16;
/// Objects that a mirror copies at once; their bytes are bounded apart.
pub const MIRROR_OBJECTS_AT_ONCE: usize = 16;
/// Listings of the source in one run of a mirror. Each further one takes a step of a GC run meanwhile, which has three.
pub const MIRROR_ROUNDS_MAX: u32 = 8;
/// Leaves that a copy works on at once. Each holds the entries of one leaf, a batch of blobs, and the pages of one segment.
pub const COPY_LEAVES_AT_ONCE: usize = 4;
/// Plain bytes of blobs that a copy reads at once for one leaf.
pub const COPY_BATCH_BYTES: u64 = 4 << 20;
/// Blobs of the source that a copy remembers with their places in the target: about 32 MiB.
pub const COPY_KNOWN_MAX: usize = 256 << 10;
/// A copy whose session was fenced starts again this often: it then finds what it had stored.
pub const COPY_TRIES_MAX: u32 = 3;
/// A collector holds decoded blobs of this many plain bytes on their way from thin packs into new ones, MiB.
pub const COPY_AHEAD_MIB: usize = 64;
/// Packs that a collector reads at once to copy what is live in them: small ones cost the way to the store, not bytes.
pub const COPY_PACKS_AHEAD: usize = 8;
/// How hard a collector compresses: what is copied has stayed long and will stay longer, and nobody waits for it.
pub const COPY_ZSTD_LEVEL: i32 = 3;
/// So many small packs of about the same size become one. Each time a blob is copied for this its pack grows eightfold, so
/// that it is copied three times at most on the way from 64 KiB to a full pack.
pub const MERGE_PACKS_MIN: usize = 8;
/// Smaller packs count as this small: below it, requests cost more than bytes.
pub const MERGE_BYTES_MIN: u64 = 64 << 10;
/// A GC record above this lies in parts of this size: readers hold a part at a time, and none nears `OBJECT_BYTES_MAX`.
pub const GC_RECORD_BYTES: usize = 4 << 20;
/// Parts of one GC record: 1 GiB, the relocations of a hundred million scattered blobs.
pub const GC_RECORD_PARTS_MAX: usize = 256;
/// A part of a collector's catalogue is closed at this size.
pub const CATALOGUE_PART_BYTES: usize = 8 << 20;
/// Parts of a catalogue that are fetched at once.
pub const CATALOGUE_FETCHES: usize = 4;
/// Outcomes that a collector reads before it puts them into its catalogue, as what they need in its own encoding: enough
/// that neighbours in time mostly come together.
pub const CATALOGUE_BATCH_BYTES: usize = 32 << 20;
/// A run tidies so many sessions that ended without a snapshot (restores, verifications) though it has nothing to condemn: half a
/// page of a listing, which every session's beginning and every run goes through.
pub const CLOSED_SESSIONS_MAX: usize = 500;
/// A run that had to read so many outcomes writes its catalogue though it has nothing to condemn, so that the next one does not
/// read them again: a request each, against some ten for a generation.
pub const CATALOGUE_OUTCOMES_MAX: usize = 1000;
/// A name or uid of a cluster, as a snapshot's origin keeps it: Kubernetes' longest names have 253 bytes.
pub const ORIGIN_NAME_BYTES_MAX: usize = 512;
/// Objects that a snapshot's origin keeps: the claim, its volume, its class, and room for what comes.
pub const ORIGIN_OBJECTS_MAX: usize = 8;
/// Such an object as JSON: claims and volumes have a few KiB; every listing of snapshots reads them.
pub const ORIGIN_OBJECT_BYTES_MAX: usize = 64 << 10;
