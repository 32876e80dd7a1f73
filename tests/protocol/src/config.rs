//! What a search covers: processes, features, and at most one rule changed.

/// What a writer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A backup that wants this blob (0 or 1).
    Backup(u8),
    /// Undoes the forgetting of the first snapshot by committing a copy of its manifest.
    Undo,
}

/// What may happen besides the plain protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Feature {
    /// Writers rebase when the generation moved.
    Rebase = 1,
    /// Collectors compact.
    Compaction = 1 << 1,
    /// Collectors crash anywhere and start again.
    Crash = 1 << 2,
    /// Writers take references from a parent's summary too.
    Parent = 1 << 3,
    /// Replies to commits get lost.
    LostReplies = 1 << 4,
    /// What the newest `done` freezes and its catalogue lacks is deleted, piece by piece.
    Tidy = 1 << 5,
    /// Some packs can't be deleted for a while (object lock).
    Lock = 1 << 6,
    /// A blob turns out to be damaged, is quarantined, stored again and repaired.
    Damage = 1 << 7,
    /// Snapshots of writers are forgotten too, not only the first one.
    ForgetAll = 1 << 8,
    /// A fenced or void writer starts again as a new session.
    Retry = 1 << 9,
    /// Collectors wait for live sessions instead of fencing them.
    Patient = 1 << 10,
    /// Writers' packs hold both blobs, not just the one that their session wants.
    FullPacks = 1 << 11,
    /// `done` names a part that is put before it; parts that nobody names are tidied.
    Parts = 1 << 12,
    /// Writers list the packs once, and go by that later.
    Seen = 1 << 13,
    /// What is damaged may be put back, be damaged again, and its quarantine be lifted.
    Lift = 1 << 14,
}

/// One rule changed or left out: each must lose something, or the rule is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// W3: no second reading of the generation.
    NoConfirm,
    /// W4: the condemned packs are not asked for.
    IgnoreCondemned,
    /// W5: a pack is referenced without being seen to exist.
    NoExistence,
    /// The store ignores create-if-absent.
    NoConditionalPut,
    /// G3: sessions are taken for dead and nothing is written that would stop them.
    GracePeriod,
    /// G4: no second mark.
    NoRemark,
    /// WR: references are not checked.
    RebaseUnchecked,
    /// WR: references are checked against the newest condemned packs only, though more generations passed.
    RebaseNewestOnly,
    /// WR: what was condemned before the newest generation may be referred to again, though existence was asked then.
    RebaseForgets,
    /// G5: an own list is swept instead of the stored one.
    SweepOwnList,
    /// G4: relocations spare nothing, whichever bits they cover.
    Uncovered,
    /// G1: relocations in an object of their own.
    LooseRelocation,
    /// Relocations hold although their pack was spared.
    EagerRelocation,
    /// W4: the parent's marker is not read again after W3.
    QueuedParent,
    /// W4: a void parent is taken for a snapshot.
    VoidParent,
    /// W7: no look at the newest `done` after the commit.
    NoVoidCheck,
    /// G1, G4: readers' registrations count for nothing.
    ReadersIgnored,
    /// G4, G8: registrations are listed before the markers.
    ReadersBeforeMarkers,
    /// A reader looks at its snapshot first and registers afterwards.
    ReaderLate,
    /// Open registrations of readers are tidied like closed ones.
    TidyOpenReaders,
    /// A repair leads to a pack that is condemned in the same record.
    RepairIntoCondemned,
    /// G8: a forgotten snapshot that a reader holds is left out of the catalogue.
    CatalogueWithoutHeld,
    /// G8: relocations are dropped without being followed to their end.
    NoCompose,
    /// G1: what earlier sweeps left is not condemned again.
    LeftoversForgotten,
    /// Parts of a generation that is not done are tidied too.
    PartsTidiedEarly,
    /// Parts of the `done` record before the last are tidied at once.
    LastPartsTidied,
    /// W7: any outcome that is there already is taken for the own one.
    BlindRetry,
    /// The undo of a forgetting takes the manifest's packs as they are.
    UndoUnchecked,
    /// The undo of a forgetting follows relocations, but commits the old places.
    UndoKeepsPlaces,
    /// W5: quarantine is not asked for.
    QuarantineIgnored,
    /// A quarantine is lifted without reading the pack.
    LiftUnread,
    /// A lift deletes records that came to be after its reading began.
    LiftUnlisted,
    /// G1: a session's packs count as abandoned as soon as its own sid is closed, whoever carries it on.
    CarriedIgnored,
    /// G8: the catalogue takes the outcomes of the frozen generations without asking the last catalogue.
    CatalogueFromOutcomes,
}

/// What a search covers.
#[derive(Clone, Debug)]
pub struct Config {
    /// The writers, at most three.
    pub writers: Vec<Role>,
    /// Collectors, at most two.
    pub collectors: u8,
    /// GC generations, at most three.
    pub generations: u8,
    /// A reader that may read any snapshot.
    pub reader: bool,
    /// Sids that a writer may use up, at most three.
    pub attempts: u8,
    features: u32,
    /// The changed rule.
    pub mutation: Option<Mutation>,
}

impl Config {
    /// The plain protocol with these processes.
    #[must_use]
    pub fn new(writers: &[Role], collectors: u8, generations: u8) -> Self {
        let writers = writers.to_vec();
        assert!(
            writers.len() <= 3 && collectors <= 2 && generations <= 3,
            "the state has room for that many"
        );
        Self { writers, collectors, generations, reader: false, attempts: 2, features: 0, mutation: None }
    }

    /// With these features.
    #[must_use]
    pub fn with(mut self, features: &[Feature]) -> Self {
        self.features = features.iter().fold(self.features, |all, f| all | *f as u32);
        self
    }

    /// With a reader.
    #[must_use]
    pub fn with_reader(mut self) -> Self {
        self.reader = true;
        self
    }

    /// With this many sids for each writer.
    #[must_use]
    pub fn attempts(mut self, attempts: u8) -> Self {
        assert!((1..=3).contains(&attempts), "the state has room for that many");
        self.attempts = attempts;
        self
    }

    /// With this rule changed.
    #[must_use]
    pub fn mutated(mut self, mutation: Mutation) -> Self {
        self.mutation = Some(mutation);
        self
    }

    /// True if the feature is on.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features & feature as u32 != 0
    }

    /// True if this rule is the changed one.
    #[must_use]
    pub fn lacks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// The blob that a session wants.
    #[must_use]
    pub fn want(&self, sid: usize) -> u8 {
        match sid.checked_sub(1).and_then(|n| self.writers.get(n / crate::state::ATTEMPTS)) {
            Some(Role::Backup(blob)) => *blob,
            Some(Role::Undo) | None => 0,
        }
    }
}
