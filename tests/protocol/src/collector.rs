//! Collectors: G0 to G8. Any number of them, each as stale as it likes.

use crate::config::{Config, Feature, Mutation};
use crate::state::{
    BLOBS, COPIES, Collector, CollectorStep, Done, GENERATIONS, Label, Moves, NONE, Open, Packs, READER_SID,
    Sids, State, Steps, View, holds, members, one, part_of,
};

/// What each collector may do next.
pub(crate) fn steps(config: &Config, state: &State, out: &mut Steps) {
    for j in 0..config.collectors {
        let me = state.collectors[usize::from(j)];
        Turn { config, state, j, me }.steps(out);
        if config.has(Feature::Crash) && me != Collector::IDLE {
            let mut next = *state;
            next.collectors[usize::from(j)] = Collector::IDLE;
            out.push((Label("collector crashes", j, NONE), next));
        }
    }
}

/// One collector in one state.
struct Turn<'a> {
    config: &'a Config,
    state: &'a State,
    j: u8,
    me: Collector,
}

impl Turn<'_> {
    fn steps(&self, out: &mut Steps) {
        use CollectorStep as At;
        let n = self.me.generation;
        match self.me.step {
            At::Idle => self.begin(out),
            At::Mark => self.mark("G1 mark for", u8::MAX, At::MarkReaders, At::Plan, out),
            At::MarkReaders => self.mark_readers(u8::MAX, At::Plan, out),
            At::Plan => self.plan(out),
            At::Open => self.open(out),
            At::Fence => self.fence(out),
            At::Remark => self.mark("G4 mark for", n - 1, At::RemarkReaders, At::Sweep, out),
            At::RemarkReaders => self.mark_readers(n - 1, At::Sweep, out),
            At::Sweep => self.sweep(out),
            At::Delete => self.delete(out),
            At::Catalogue => self.mark("G8 catalogue for", n - 1, At::CatalogueReaders, At::PutPart, out),
            At::CatalogueReaders => self.mark_readers(n - 1, At::PutPart, out),
            At::PutPart => self.put_part(out),
            At::Done => self.done(out),
        }
    }

    fn go(
        &self,
        what: &'static str,
        with: u16,
        change: impl FnOnce(&mut Collector, &mut State),
        out: &mut Steps,
    ) {
        let (mut state, mut me) = (*self.state, self.me);
        change(&mut me, &mut state);
        // What is not needed any more would only multiply states.
        state.collectors[usize::from(self.j)] =
            if me.step == CollectorStep::Idle { Collector::IDLE } else { me };
        out.push((Label(what, self.j, u8::try_from(with).unwrap_or(NONE)), state));
    }

    /// G0, and the list of packs of G1.
    fn begin(&self, out: &mut Steps) {
        let (newest, done) = (self.state.generation, self.state.done);
        if newest > done {
            let resume = Collector { step: CollectorStep::Fence, generation: newest, ..Collector::IDLE };
            self.go("G0 resume", newest.into(), |me, _| *me = resume, out);
        } else if newest < self.config.generations {
            let (step, packs) = (CollectorStep::Mark, self.state.packs);
            let begin = Collector { step, generation: newest + 1, packs, ..Collector::IDLE };
            self.go("G1 list packs for", u16::from(newest) + 1, |me, _| *me = begin, out);
        }
    }

    /// Lists outcomes and markers: the snapshots with a base up to `base_max` that are not forgotten.
    fn mark(
        &self,
        what: &'static str,
        base_max: u8,
        readers: CollectorStep,
        then: CollectorStep,
        out: &mut Steps,
    ) {
        let late = self.config.lacks(Mutation::ReadersBeforeMarkers);
        let live = if late { self.held(base_max) } else { self.unforgotten(base_max) };
        let step = if self.config.reader { readers } else { then };
        self.go(what, self.me.generation.into(), |me, _| (me.live, me.step) = (live, step), out);
    }

    /// Lists the readers' registrations, after the markers.
    fn mark_readers(&self, base_max: u8, then: CollectorStep, out: &mut Steps) {
        let late = self.config.lacks(Mutation::ReadersBeforeMarkers);
        let live = if late { self.unforgotten(base_max) } else { self.held(base_max) };
        self.go("list readers", live, |me, _| (me.live, me.step) = (me.live | live, then), out);
    }

    fn counts(&self, sid: u8, base_max: u8) -> bool {
        let stored = self.state.sids[usize::from(sid)];
        let trusts = self.config.lacks(Mutation::CatalogueFromOutcomes);
        let void = self.state.is_void(sid, self.state.done.min(self.me.generation.saturating_sub(1)));
        stored.committed() && stored.base <= base_max && (trusts || !void)
    }

    fn unforgotten(&self, base_max: u8) -> Sids {
        self.state.sids_where(|sid, stored| self.counts(sid, base_max) && !stored.marked())
    }

    fn held(&self, base_max: u8) -> Sids {
        let reader = self.state.sids[READER_SID];
        let open = reader.registered() && !reader.closed() && self.state.target != NONE;
        let ignored = self.config.lacks(Mutation::ReadersIgnored)
            || self.config.lacks(Mutation::CatalogueWithoutHeld)
                && matches!(self.me.step, CollectorStep::CatalogueReaders);
        if open && !ignored && self.counts(self.state.target, base_max) { one(self.state.target) } else { 0 }
    }

    /// The packs that live snapshots need, blob by blob, by a view's relocations.
    fn needs(&self, view: View) -> impl Iterator<Item = (u8, u8)> {
        members(self.me.live).map(move |sid| {
            let blob = self.config.want(usize::from(sid));
            let named = self.state.sids[usize::from(sid)].pack;
            (self.state.resolve(self.config, view, named, blob), blob)
        })
    }

    /// G1: what to condemn, and perhaps a pack to compact.
    fn plan(&self, out: &mut Steps) {
        let mut needed = [0u8; 16];
        for (pack, blob) in self.needs(self.state.view()) {
            needed[usize::from(pack)] |= 1 << blob;
        }
        let listed = self.me.packs;
        let free = members(listed).filter(|&p| needed[usize::from(p)] == 0).fold(0, |set, p| set | one(p));
        let left = members(self.state.swept.into()).fold(0, |set, g| set | self.state.sweeps[usize::from(g)]);
        let left = if self.config.lacks(Mutation::LeftoversForgotten) { 0 } else { left & listed };
        let condemned = self.state.abandoned(self.config, free) | left;
        let opens = |me: &mut Collector| (me.packs, me.step, me.live) = (condemned, CollectorStep::Open, 0);
        self.go("G1 plan to condemn", condemned, |me, _| opens(me), out);
        if !self.config.has(Feature::Compaction) {
            return;
        }
        for pack in members(listed & !condemned & self.state.packs) {
            let copy = u8::try_from(COPIES).unwrap_or(NONE) + 2 * (self.me.generation - 1) + self.j;
            if needed[usize::from(pack)] == 0 || holds(self.state.ever, copy) {
                continue;
            }
            let others =
                if self.config.lacks(Mutation::RepairIntoCondemned) { listed } else { listed & !condemned };
            let Some((moves, copied)) = self.moves(pack, needed[usize::from(pack)], copy, others) else {
                continue;
            };
            let change = |me: &mut Collector, state: &mut State| {
                opens(me);
                me.packs |= one(pack);
                me.moves = moves;
                if copied != 0 {
                    state.put_pack(copy);
                    state.copies[usize::from(copy) - COPIES] = copied;
                }
                if self.config.lacks(Mutation::LooseRelocation) && state.loose == Moves::NONE {
                    (state.loose, me.moves) = (moves, Moves::NONE);
                }
            };
            self.go("G1 compact pack", pack.into(), change, out);
        }
    }

    /// Where the needed blobs of a pack go: healthy ones into the copy, damaged ones to another pack that has them.
    fn moves(&self, from: u8, needed: u8, copy: u8, others: Packs) -> Option<(Moves, u8)> {
        let (mut to, mut copied) = ([NONE; BLOBS], 0);
        for blob in State::blobs().filter(|b| needed & (1 << b) != 0) {
            to[usize::from(blob)] = if self.state.is_healthy(from, blob) {
                copied |= 1 << blob;
                copy
            } else {
                let good = members(self.state.with_blob(self.config, others & self.state.packs, blob));
                let mut good = good.filter(|&p| p != from && self.state.is_healthy(p, blob));
                good.next().filter(|_| self.state.records != 0)?
            };
        }
        Some((Moves { from, to }, copied))
    }

    /// G2.
    fn open(&self, out: &mut Steps) {
        let n = self.me.generation;
        if self.state.generation + 1 != n || self.state.done + 1 != n {
            self.go("G2 another one opened", n.into(), |me, _| *me = Collector::IDLE, out);
            return;
        }
        let record = Open { condemned: self.me.packs, moves: self.me.moves };
        let change = |me: &mut Collector, state: &mut State| {
            state.generation = n;
            state.opens[usize::from(n)] = record;
            *me = Collector { step: CollectorStep::Fence, generation: n, ..Collector::IDLE };
        };
        self.go("G2 OPEN", n.into(), change, out);
    }

    /// G3. Readers are not fenced: they hold snapshots, not packs.
    fn fence(&self, out: &mut Steps) {
        let n = self.me.generation;
        let open = self.state.sids_where(|sid, stored| {
            let writer = usize::from(sid) < READER_SID && sid >= self.me.next;
            writer && stored.registered() && stored.base < n && !stored.closed()
        });
        let first = members(open).next().filter(|_| !self.config.lacks(Mutation::GracePeriod));
        match first {
            Some(_) if self.config.has(Feature::Patient) => {}
            Some(sid) => {
                let change = |me: &mut Collector, state: &mut State| {
                    state.sids[usize::from(sid)].abort();
                    me.next = sid + 1;
                };
                self.go("G3 FENCE", sid.into(), change, out);
            }
            None => {
                let change =
                    |me: &mut Collector, _: &mut State| (me.next, me.step) = (0, CollectorStep::Remark);
                self.go("G3 all closed below", n.into(), change, out);
            }
        }
    }

    /// G4's list and G5: what nobody needs, unless another list is stored already.
    fn sweep(&self, out: &mut Steps) {
        let n = usize::from(self.me.generation);
        let Open { condemned, moves } = self.state.opens[n];
        let view = View {
            done: self.state.done.min(self.me.generation - 1),
            swept: self.state.swept & !(u8::MAX << n),
        };
        let covers = |pack: u8, blob: u8| pack == moves.from && moves.to[usize::from(blob)] != NONE;
        let careless = self.config.lacks(Mutation::Uncovered);
        let spared = self.needs(view).filter(|&(p, b)| !(covers(p, b) || careless && p == moves.from));
        let spared = spared.fold(0, |set, (p, _)| set | one(p));
        let own = if self.config.lacks(Mutation::NoRemark) { condemned } else { condemned & !spared };
        let stored = self.state.swept & (1 << n) != 0;
        let list =
            if stored && !self.config.lacks(Mutation::SweepOwnList) { self.state.sweeps[n] } else { own };
        let change = |me: &mut Collector, state: &mut State| {
            if !stored {
                state.sweeps[n] = own;
                state.swept |= 1 << n;
            }
            (me.packs, me.live, me.step) = (list, 0, CollectorStep::Delete);
        };
        self.go(if stored { "G5 adopt sweep" } else { "G5 SWEEP" }, list, change, out);
    }

    /// G7, pack by pack.
    fn delete(&self, out: &mut Steps) {
        let left = self.me.packs & self.state.packs;
        let Some(pack) = members(left).next() else {
            let change =
                |me: &mut Collector, _: &mut State| (me.packs, me.step) = (0, CollectorStep::Catalogue);
            self.go("G7 all deleted", self.me.generation.into(), change, out);
            return;
        };
        let delete = |me: &mut Collector, state: &mut State| {
            state.packs &= !one(pack);
            me.packs = left & !one(pack);
        };
        self.go("G7 delete pack", pack.into(), delete, out);
        if self.config.has(Feature::Lock) {
            self.go("G7 pack is locked:", pack.into(), |me, _| me.packs = left & !one(pack), out);
        }
    }

    /// G8: what `done` will name.
    fn put_part(&self, out: &mut Steps) {
        if !self.config.has(Feature::Parts) {
            self.done(out);
            return;
        }
        let part = part_of(self.me.generation, self.j);
        let change = |me: &mut Collector, state: &mut State| {
            state.parts |= 1 << part;
            me.step = CollectorStep::Done;
        };
        self.go("G8 put part", part.into(), change, out);
    }

    /// G8.
    fn done(&self, out: &mut Steps) {
        let n = self.me.generation;
        let part = if self.config.has(Feature::Parts) { part_of(n, self.j) } else { NONE };
        let record = Done { catalogue: self.me.live, moves: self.merged(), part };
        let change = |me: &mut Collector, state: &mut State| {
            if state.done + 1 == n {
                state.dones[usize::from(n)] = record;
                state.done = n;
            }
            *me = Collector::IDLE;
        };
        self.go("G8 done", n.into(), change, out);
    }

    /// The relocations that are still needed, each followed to its end.
    fn merged(&self) -> [Moves; GENERATIONS] {
        let n = usize::from(self.me.generation);
        let mut moves = self.state.dones[n - 1].moves;
        let new = self.state.swept_moves(self.config, self.state.swept, self.me.generation);
        for old in &mut moves {
            for (to, further) in old.to.iter_mut().zip(new.to) {
                let on = *to == new.from && new.from != NONE && further != NONE;
                if on && !self.config.lacks(Mutation::NoCompose) {
                    *to = further;
                }
            }
        }
        moves[n] = new;
        let named =
            members(self.me.live).fold(0, |set, sid| set | one(self.state.sids[usize::from(sid)].pack));
        moves.map(|m| if holds(named, m.from) { m } else { Moves::NONE })
    }
}
