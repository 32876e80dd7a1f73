//! One state of the model: the store's objects and the processes' memories, in small fixed arrays.

/// Room for generations, the first one (without a collector) included.
pub(crate) const GENERATIONS: usize = 4;
/// Blobs that there are: pack 0 holds both.
pub(crate) const BLOBS: usize = 2;
/// Room for sids of one writer.
pub(crate) const ATTEMPTS: usize = 3;
/// Room for writers.
pub(crate) const WRITERS: usize = 3;
/// The reader's sid.
pub(crate) const READER_SID: usize = 1 + WRITERS * ATTEMPTS;
/// Room for sids: the first snapshot's, the writers', the reader's.
pub(crate) const SIDS: usize = READER_SID + 1;
/// The first of the packs that collectors write.
pub(crate) const COPIES: usize = 1 + WRITERS * ATTEMPTS;
/// Room for packs: the first one, one for each writer's sid, one for each collector and generation.
pub(crate) const PACKS: usize = COPIES + 2 * (GENERATIONS - 1);
/// No pack, no sid, no generation.
pub(crate) const NONE: u8 = u8::MAX;

/// A set of packs.
pub(crate) type Packs = u16;
/// A set of sids.
pub(crate) type Sids = u16;

/// The relocations of one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moves {
    /// The pack whose blobs moved.
    pub from: u8,
    /// Where each blob went.
    pub to: [u8; BLOBS],
}

impl Moves {
    /// Nothing moved.
    pub(crate) const NONE: Self = Self { from: NONE, to: [NONE; BLOBS] };
}

/// `g/<gen>/open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub condemned: Packs,
    pub moves: Moves,
}

/// `g/<gen>/done`; it freezes the generation before its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Done {
    pub catalogue: Sids,
    /// Relocations still needed, followed to their end.
    pub moves: [Moves; GENERATIONS],
    /// The part that it names.
    pub part: u8,
}

/// What is stored under one sid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sid {
    /// Generation of its registration; `NONE` before it.
    pub base: u8,
    /// What its manifest needs: its blob, of this pack.
    pub pack: u8,
    flags: u8,
}

const REGISTERED: u8 = 1;
const COMMITTED: u8 = 2;
const ABORTED: u8 = 4;
const MARKED: u8 = 8;
const FORGOTTEN: u8 = 16;

impl Sid {
    const fn new() -> Self {
        Self { base: NONE, pack: NONE, flags: 0 }
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    pub(crate) const fn registered(self) -> bool {
        self.flags & REGISTERED != 0
    }

    pub(crate) const fn committed(self) -> bool {
        self.flags & COMMITTED != 0
    }

    pub(crate) const fn aborted(self) -> bool {
        self.flags & ABORTED != 0
    }

    /// It has an outcome.
    pub(crate) const fn closed(self) -> bool {
        self.flags & (COMMITTED | ABORTED) != 0
    }

    /// It has a forget marker.
    pub(crate) const fn marked(self) -> bool {
        self.flags & MARKED != 0
    }

    /// It had one at some time: not stored, only for the checks.
    pub(crate) const fn was_forgotten(self) -> bool {
        self.flags & FORGOTTEN != 0
    }

    pub(crate) fn register(&mut self, base: u8) {
        self.base = base;
        self.set(REGISTERED, true);
    }

    pub(crate) fn unregister(&mut self) {
        self.set(REGISTERED, false);
    }

    pub(crate) fn commit(&mut self, pack: u8) {
        self.pack = pack;
        self.set(ABORTED, false);
        self.set(COMMITTED, true);
    }

    /// Creates ABORTED if there is no outcome.
    pub(crate) fn abort(&mut self) {
        if !self.closed() {
            self.set(ABORTED, true);
        }
    }

    pub(crate) fn delete_outcome(&mut self) {
        self.set(COMMITTED | ABORTED, false);
    }

    pub(crate) fn forget(&mut self) {
        self.set(MARKED | FORGOTTEN, true);
    }

    pub(crate) fn delete_marker(&mut self) {
        self.set(MARKED, false);
    }
}

/// Where a writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum WriterStep {
    ReadGeneration,
    Register,
    Confirm,
    Load,
    Choose,
    CheckMarker,
    CheckDone,
    RebaseRegister,
    RebaseConfirm,
    RebaseCheck,
    CloseOld,
    Commit,
    ReadBack,
    CheckVoid,
    /// It told its user that the snapshot exists.
    Committed,
    GaveUp,
}

/// A writer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    pub step: WriterStep,
    /// Which of its sids it uses now, and the first one of this session's chain.
    pub attempt: u8,
    pub chain: u8,
    pub base: u8,
    /// Its references were checked against the condemned packs up to here.
    pub checked: u8,
    pub pack: u8,
    pub parent: u8,
    pub view: View,
    /// What it may not refer to: condemned in its first generation, and in all that it followed.
    pub forbidden: Packs,
    /// Packs that it saw to exist at its beginning.
    pub seen: Packs,
    /// It read a quarantine record.
    pub quarantine: bool,
    /// When it read them, there was damage that had been named: not stored, only for the checks.
    pub told: bool,
}

/// The relocations that a process loaded: by the newest `done` and the later sweeps that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub done: u8,
    pub swept: u8,
}

/// The memory of who lifts a quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lifter {
    /// The records that it listed.
    pub listed: u8,
    /// It has read the pack, and all of it was well.
    pub read: bool,
    /// It has lifted records.
    pub lifted: bool,
}

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ReaderStep {
    Register,
    CheckMarker,
    CheckDone,
    Reading,
    Closed,
}

/// Where a collector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum CollectorStep {
    Idle,
    /// G1: packs are listed; outcomes and markers come next, then readers.
    Mark,
    MarkReaders,
    Plan,
    Open,
    Fence,
    Remark,
    RemarkReaders,
    Sweep,
    Delete,
    /// G8: outcomes and markers, then readers.
    Catalogue,
    CatalogueReaders,
    PutPart,
    Done,
}

/// A collector's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Collector {
    pub step: CollectorStep,
    /// The generation that it opens or finishes.
    pub generation: u8,
    /// The next session to look at.
    pub next: u8,
    /// What it listed, condemns or deletes.
    pub packs: Packs,
    /// Snapshots that count.
    pub live: Sids,
    pub moves: Moves,
}

impl Writer {
    /// The sid that writer number `w` uses now.
    pub(crate) fn sid(&self, w: usize) -> u8 {
        sid_of(w, self.attempt)
    }
}

/// The part that a collector writes for a generation's `done`.
pub(crate) fn part_of(generation: u8, collector: u8) -> u8 {
    2 * (generation - 1) + collector
}

/// The sid of a writer's attempt.
pub(crate) fn sid_of(writer: usize, attempt: u8) -> u8 {
    u8::try_from(1 + writer * ATTEMPTS).unwrap_or(NONE) + attempt
}

impl Collector {
    /// One that knows nothing.
    pub(crate) const IDLE: Self =
        Self { step: CollectorStep::Idle, generation: 0, next: 0, packs: 0, live: 0, moves: Moves::NONE };
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The highest generation with an `open` record, and with a `done` record.
    pub generation: u8,
    pub done: u8,
    pub opens: [Open; GENERATIONS],
    pub sweeps: [Packs; GENERATIONS],
    /// Generations with a `sweep` record.
    pub swept: u8,
    pub dones: [Done; GENERATIONS],
    pub packs: Packs,
    /// Packs that ever were.
    pub ever: Packs,
    /// Parts that there are: one for each generation and collector.
    pub parts: u8,
    /// Which blobs collectors' packs hold.
    pub copies: [u8; PACKS - COPIES],
    /// A relocation outside `open`: only where that rule is changed.
    pub loose: Moves,
    /// Blob 0 of pack 0 is damaged; how often it was so far; and whether verify named this damage.
    pub damaged: bool,
    pub damages: u8,
    pub named: bool,
    /// Quarantine records of it, as bits.
    pub records: u8,
    pub lifter: Lifter,
    /// A rebase found packs of its own session condemned.
    pub lost_work: bool,
    pub sids: [Sid; SIDS],
    pub writers: [Writer; WRITERS],
    pub reader: ReaderStep,
    pub target: u8,
    pub collectors: [Collector; 2],
}

impl State {
    /// One snapshot of one blob, nobody at work yet.
    pub(crate) fn new() -> Self {
        let open = Open { condemned: 0, moves: Moves::NONE };
        let done = Done { catalogue: 0, moves: [Moves::NONE; GENERATIONS], part: NONE };
        let mut sids = [Sid::new(); SIDS];
        sids[0].register(0);
        sids[0].commit(0);
        let writer = Writer {
            step: WriterStep::ReadGeneration,
            attempt: 0,
            chain: 0,
            base: 0,
            checked: 0,
            pack: NONE,
            parent: NONE,
            view: View { done: 0, swept: 0 },
            forbidden: 0,
            seen: 0,
            quarantine: false,
            told: false,
        };
        Self {
            generation: 0,
            done: 0,
            opens: [open; GENERATIONS],
            sweeps: [0; GENERATIONS],
            swept: 0,
            dones: [done; GENERATIONS],
            packs: 1,
            ever: 1,
            parts: 0,
            copies: [0; PACKS - COPIES],
            loose: Moves::NONE,
            damaged: false,
            damages: 0,
            named: false,
            records: 0,
            lifter: Lifter { listed: 0, read: false, lifted: false },
            lost_work: false,
            sids,
            writers: [writer; WRITERS],
            reader: ReaderStep::Register,
            target: NONE,
            collectors: [Collector::IDLE; 2],
        }
    }
}

/// What happened in a step: what, who, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(pub &'static str, pub u8, pub u8);

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self(what, who, NONE) => write!(f, "{what} [{who}]"),
            Self(what, who, with) => write!(f, "{what} {with} [{who}]"),
        }
    }
}

/// Steps that lead out of a state.
pub(crate) type Steps = Vec<(Label, State)>;

/// The set of one.
pub(crate) const fn one(n: u8) -> u16 {
    1 << n
}

/// True if the set holds it.
pub(crate) const fn holds(set: u16, n: u8) -> bool {
    n != NONE && set & one(n) != 0
}

/// The members of a set.
pub(crate) fn members(set: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |&n| holds(set, n))
}
