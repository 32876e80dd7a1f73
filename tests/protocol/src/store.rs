//! What can be read from the store's objects: contents of packs, relocations, what counts as a snapshot.

use crate::config::{Config, Feature, Mutation};
use crate::state::{BLOBS, COPIES, GENERATIONS, Moves, NONE, Packs, SIDS, Sids, State, View, holds, one};

impl State {
    /// Which blobs a pack holds, as bits.
    pub(crate) fn content(&self, config: &Config, pack: u8) -> u8 {
        match usize::from(pack) {
            0 => 0b11,
            copy if copy >= COPIES => self.copies[copy - COPIES],
            _ if config.has(Feature::FullPacks) => 0b11,
            sid => 1 << config.want(sid),
        }
    }

    /// True if the blob can be read from the pack.
    pub(crate) fn is_healthy(&self, pack: u8, blob: u8) -> bool {
        !(self.damaged && pack == 0 && blob == 0)
    }

    /// What loading the relocations brings now.
    pub(crate) fn view(&self) -> View {
        View { done: self.done, swept: self.swept }
    }

    /// Where a blob of a pack is, by the relocations of a view.
    pub(crate) fn resolve(&self, config: &Config, view: View, pack: u8, blob: u8) -> u8 {
        let mut at = pack;
        for _ in 0..2 * GENERATIONS {
            let next = (1..GENERATIONS as u8).find_map(|g| {
                let moves = self.moves(config, view, g);
                (moves.from == at).then(|| moves.to[usize::from(blob)]).filter(|&to| to != NONE)
            });
            let loose = (self.loose.from == at).then(|| self.loose.to[usize::from(blob)]);
            match next.or(loose.filter(|&to| to != NONE)) {
                Some(to) => at = to,
                None => return at,
            }
        }
        at
    }

    /// The relocations that a generation's run contributes to a view.
    fn moves(&self, config: &Config, view: View, generation: u8) -> Moves {
        let g = usize::from(generation);
        if generation <= view.done {
            return self.dones[usize::from(view.done)].moves[g];
        }
        self.swept_moves(config, view.swept, generation)
    }

    /// The relocations of an `open` record, if its sweep makes them hold.
    pub(crate) fn swept_moves(&self, config: &Config, swept: u8, generation: u8) -> Moves {
        let g = usize::from(generation);
        let moves = self.opens[g].moves;
        let opened = generation <= self.generation;
        let holds = swept & (1 << generation) != 0 && holds(self.sweeps[g], moves.from);
        if opened && (holds || config.lacks(Mutation::EagerRelocation)) { moves } else { Moves::NONE }
    }

    /// The generation that the newest `done` freezes with all before it.
    pub(crate) fn is_frozen(&self, base: u8, done: u8) -> bool {
        done > 0 && base < done
    }

    /// True if an outcome was created after the fence was tidied away.
    pub(crate) fn is_void(&self, sid: u8, done: u8) -> bool {
        let frozen = self.is_frozen(self.sids[usize::from(sid)].base, done);
        frozen && !holds(self.dones[usize::from(done)].catalogue, sid)
    }

    /// All sids for which `keep` says yes.
    pub(crate) fn sids_where(&self, keep: impl Fn(u8, crate::state::Sid) -> bool) -> Sids {
        let sids = (0..SIDS as u8).filter(|&n| keep(n, self.sids[usize::from(n)]));
        sids.fold(0, |set, n| set | one(n))
    }

    /// Creates a pack.
    pub(crate) fn put_pack(&mut self, pack: u8) {
        self.packs |= one(pack);
        self.ever |= one(pack);
    }

    /// Packs that hold a blob of a set of packs.
    pub(crate) fn with_blob(&self, config: &Config, packs: Packs, blob: u8) -> Packs {
        crate::state::members(packs)
            .filter(|&p| self.content(config, p) & (1 << blob) != 0)
            .fold(0, |set, p| set | one(p))
    }

    /// Blobs in the order of their numbers.
    pub(crate) fn blobs() -> std::ops::Range<u8> {
        0..BLOBS as u8
    }
}
