//! Writers: W1 to W7 and the rebase WR.

use crate::config::{Config, Feature, Mutation, Role};
use crate::state::{
    Label, NONE, Packs, READER_SID, State, Steps, Writer, WriterStep, holds, members, one, sid_of,
};

/// What each writer may do next.
pub(crate) fn steps(config: &Config, state: &State, out: &mut Steps) {
    for (w, role) in config.writers.iter().enumerate() {
        Turn { config, state, w, role: *role, me: state.writers[w] }.steps(out);
    }
}

/// One writer in one state.
struct Turn<'a> {
    config: &'a Config,
    state: &'a State,
    w: usize,
    role: Role,
    me: Writer,
}

impl Turn<'_> {
    fn steps(&self, out: &mut Steps) {
        match self.me.step {
            WriterStep::ReadGeneration => self.read_generation(out),
            WriterStep::Register => self.register(WriterStep::Confirm, out),
            WriterStep::Confirm => self.confirm(WriterStep::Register, WriterStep::Load, out),
            WriterStep::Load => self.load(out),
            WriterStep::Choose => self.choose(out),
            WriterStep::CheckMarker => self.check_marker(out),
            WriterStep::CheckDone => self.check_done(out),
            WriterStep::RebaseRegister => self.register(WriterStep::RebaseConfirm, out),
            WriterStep::RebaseConfirm => {
                self.confirm(WriterStep::RebaseRegister, WriterStep::RebaseCheck, out);
            }
            WriterStep::RebaseCheck => self.rebase_check(out),
            WriterStep::CloseOld => self.close_old(out),
            WriterStep::Commit => self.commit(out),
            WriterStep::ReadBack => self.read_back(out),
            WriterStep::CheckVoid => self.check_void(out),
            WriterStep::Committed | WriterStep::GaveUp => {}
        }
    }

    fn sid(&self) -> usize {
        usize::from(self.me.sid(self.w))
    }

    /// Goes on with the writer changed like this.
    fn go(
        &self,
        what: &'static str,
        with: u8,
        change: impl FnOnce(&mut Writer, &mut State),
        out: &mut Steps,
    ) {
        let (mut state, mut me) = (*self.state, self.me);
        change(&mut me, &mut state);
        state.writers[self.w] = me;
        out.push((Label(what, u8::try_from(self.w).unwrap_or(NONE), with), state));
    }

    fn read_generation(&self, out: &mut Steps) {
        let generation = self.state.generation;
        if self.role == Role::Undo && !self.state.sids[0].was_forgotten() {
            return;
        }
        let read = |me: &mut Writer| {
            (me.base, me.checked, me.step) = (generation, generation, WriterStep::Register);
        };
        self.go("W1 read generation", generation, |me, _| read(me), out);
        if self.config.lacks(Mutation::QueuedParent) && self.me.parent == NONE {
            for sid in members(self.state.sids_where(|n, s| s.committed() && !s.marked() && self.suits(n))) {
                let pack = self.state.sids[usize::from(sid)].pack;
                let queue = |me: &mut Writer, _: &mut State| (me.parent, me.pack) = (sid, pack);
                self.go("a job names the parent", sid, queue, out);
            }
        }
    }

    fn register(&self, then: WriterStep, out: &mut Steps) {
        let skips = self.config.lacks(Mutation::NoConfirm) && then == WriterStep::Confirm;
        let then = if skips { WriterStep::Load } else { then };
        let (sid, base) = (self.sid(), self.me.base);
        let change = |me: &mut Writer, state: &mut State| {
            state.sids[sid].register(base);
            me.step = then;
        };
        self.go("W2 register in", base, change, out);
    }

    fn confirm(&self, again: WriterStep, then: WriterStep, out: &mut Steps) {
        let (sid, generation) = (self.sid(), self.state.generation);
        if generation == self.me.base {
            self.go("W3 confirm", generation, |me, _| me.step = then, out);
            return;
        }
        let last = self.me.attempt + 1 >= self.config.attempts;
        let change = |me: &mut Writer, state: &mut State| {
            state.sids[sid].abort();
            if last {
                me.step = WriterStep::GaveUp;
                return;
            }
            me.attempt += 1;
            me.base = generation;
            me.step = again;
            if again == WriterStep::Register {
                me.checked = generation;
            }
        };
        self.go("W3 generation moved to", generation, change, out);
    }

    fn load(&self, out: &mut Steps) {
        let change = |me: &mut Writer, state: &mut State| {
            me.load(state);
            me.forbidden = state.opens[usize::from(me.base)].condemned;
            me.seen = if self.config.has(Feature::Seen) { state.packs } else { 0 };
            me.step = WriterStep::Choose;
        };
        self.go("W4 load", NONE, change, out);
    }

    /// W5, but for existence.
    fn may_use(&self, pack: u8, blob: u8) -> bool {
        let asks = self.me.quarantine && !self.config.lacks(Mutation::QuarantineIgnored);
        let damaged = asks && (pack, blob) == (0, 0);
        let ignores = self.config.lacks(Mutation::IgnoreCondemned);
        (ignores || !holds(self.me.forbidden, pack)) && !damaged
    }

    fn suits(&self, sid: u8) -> bool {
        let Role::Backup(blob) = self.role else { return false };
        usize::from(sid) < READER_SID && self.config.want(usize::from(sid)) == blob
    }

    fn choose(&self, out: &mut Steps) {
        let Role::Backup(blob) = self.role else { return self.undo(out) };
        let there = if self.config.lacks(Mutation::NoExistence) { self.state.ever } else { self.state.packs };
        let there = there | self.me.seen;
        for pack in members(self.state.with_blob(self.config, there, blob)) {
            if self.may_use(pack, blob) {
                self.refer("W5 reference pack", pack, out);
            }
        }
        self.choose_parent(out);
        let own = u8::try_from(self.sid()).unwrap_or(NONE);
        if !holds(self.state.ever, own) {
            let change = |me: &mut Writer, state: &mut State| {
                state.put_pack(own);
                (me.pack, me.step) = (own, WriterStep::Commit);
            };
            self.go("W6 put pack", own, change, out);
        }
    }

    fn refer(&self, what: &'static str, pack: u8, out: &mut Steps) {
        self.go(what, pack, |me, _| (me.pack, me.step) = (pack, WriterStep::Commit), out);
    }

    fn choose_parent(&self, out: &mut Steps) {
        if !self.config.has(Feature::Parent) {
            return;
        }
        if self.config.lacks(Mutation::QueuedParent) {
            if self.me.parent != NONE {
                self.use_parent(out);
            }
            return;
        }
        for sid in members(self.state.sids_where(|n, s| self.suits(n) && s.committed())) {
            let pack = self.state.sids[usize::from(sid)].pack;
            let change = |me: &mut Writer, _: &mut State| {
                (me.parent, me.pack, me.step) = (sid, pack, WriterStep::CheckMarker);
            };
            self.go("W4 parent", sid, change, out);
        }
    }

    fn check_marker(&self, out: &mut Steps) {
        if self.state.sids[usize::from(self.me.parent)].marked() {
            self.go("W4 parent is forgotten", self.me.parent, no_parent, out);
        } else {
            self.go("W4 parent has no marker", self.me.parent, |me, _| me.step = WriterStep::CheckDone, out);
        }
    }

    fn check_done(&self, out: &mut Steps) {
        if self.state.is_void(self.me.parent, self.state.done) && !self.config.lacks(Mutation::VoidParent) {
            self.go("W4 parent is void", self.me.parent, no_parent, out);
        } else {
            self.use_parent(out);
        }
    }

    /// The parent's summary, resolved, stands for the existence of its packs.
    fn use_parent(&self, out: &mut Steps) {
        let Role::Backup(blob) = self.role else { return };
        let pack = self.state.resolve(self.config, self.me.view, self.me.pack, blob);
        if self.may_use(pack, blob) {
            self.refer("W5 reference the parent's pack", pack, out);
        } else if !self.config.lacks(Mutation::QueuedParent) {
            self.go("W5 the parent's pack is condemned", pack, no_parent, out);
        }
    }

    /// What the forgotten snapshot needs, under W5: where it is now, or another copy that the index knows, or stored again as long
    /// as it can be read.
    fn undo(&self, out: &mut Steps) {
        let first = self.state.sids[0];
        let at = self.state.resolve(self.config, self.me.view, first.pack, 0);
        let before = out.len();
        if first.committed() && self.config.lacks(Mutation::UndoUnchecked) {
            self.refer("undo: reference pack", at, out);
        } else if first.committed() {
            for pack in members(self.state.with_blob(self.config, self.state.packs, 0)) {
                if self.may_use(pack, 0) {
                    let keeps = pack == at && self.config.lacks(Mutation::UndoKeepsPlaces);
                    self.refer("undo: reference pack", if keeps { first.pack } else { pack }, out);
                }
            }
            let own = u8::try_from(self.sid()).unwrap_or(NONE);
            let readable = holds(self.state.packs, at) && self.state.is_healthy(at, 0);
            if readable && !holds(self.state.ever, own) {
                let change = |me: &mut Writer, state: &mut State| {
                    state.put_pack(own);
                    (me.pack, me.step) = (own, WriterStep::Commit);
                };
                self.go("undo: put pack", own, change, out);
            }
        }
        if out.len() == before {
            self.go("undo: too late", NONE, |me, _| me.step = WriterStep::GaveUp, out);
        }
    }

    fn commit(&self, out: &mut Steps) {
        let moved = self.state.generation != self.me.base && self.config.has(Feature::Rebase);
        if moved && self.me.attempt + 1 < self.config.attempts {
            let generation = self.state.generation;
            let change = |me: &mut Writer, _: &mut State| {
                me.attempt += 1;
                (me.base, me.step) = (generation, WriterStep::RebaseRegister);
            };
            self.go("WR rebase to", generation, change, out);
        }
        let (sid, pack) = (self.sid(), self.me.pack);
        let stored = self.state.sids[sid];
        if stored.closed() && !self.config.lacks(Mutation::NoConditionalPut) {
            return self.refused(out);
        }
        let put = |step: WriterStep| {
            move |me: &mut Writer, state: &mut State| {
                state.sids[sid].commit(pack);
                me.step = step;
            }
        };
        self.go("W7 COMMIT with pack", pack, put(WriterStep::CheckVoid), out);
        if self.config.has(Feature::LostReplies) {
            self.go("W7 COMMIT, reply lost; pack", pack, put(WriterStep::ReadBack), out);
            self.go("W7 commit, request lost", pack, |me, _| me.step = WriterStep::ReadBack, out);
        }
    }

    fn read_back(&self, out: &mut Steps) {
        let stored = self.state.sids[self.sid()];
        let blind = self.config.lacks(Mutation::BlindRetry) && stored.closed();
        if stored.committed() || blind {
            self.go("W7 read back: there", NONE, |me, _| me.step = WriterStep::CheckVoid, out);
        } else if stored.aborted() {
            self.refused(out);
        } else {
            self.go("W7 read back: nothing", NONE, |me, _| me.step = WriterStep::Commit, out);
        }
    }

    fn check_void(&self, out: &mut Steps) {
        let sid = self.me.sid(self.w);
        if self.state.is_void(sid, self.state.done) && !self.config.lacks(Mutation::NoVoidCheck) {
            self.refused(out);
        } else {
            self.go("W7 committed", sid, |me, _| me.step = WriterStep::Committed, out);
        }
    }

    /// Fenced, or void: start again as another session, if there is a sid left for it.
    fn refused(&self, out: &mut Steps) {
        let again = self.config.has(Feature::Retry) && self.me.attempt + 1 < self.config.attempts;
        let change = |me: &mut Writer, _: &mut State| {
            me.step = if again { WriterStep::ReadGeneration } else { WriterStep::GaveUp };
            if again {
                me.attempt += 1;
                me.chain = me.attempt;
            }
        };
        self.go("W7 fenced or void", NONE, change, out);
    }

    fn rebase_check(&self, out: &mut Steps) {
        let first = match self.config.mutation {
            Some(Mutation::RebaseUnchecked) => self.me.base + 1,
            Some(Mutation::RebaseNewestOnly) => self.me.base,
            _ => self.me.checked + 1,
        };
        let condemned =
            (first..=self.me.base).fold(0, |set, g| set | self.state.opens[usize::from(g)].condemned);
        let (base, pack) = (self.me.base, self.me.pack);
        let newest_only = self.config.lacks(Mutation::RebaseForgets);
        let checked = move |me: &mut Writer, state: &State| {
            me.load(state);
            me.forbidden = condemned | if newest_only { 0 } else { me.forbidden };
            (me.checked, me.step) = (base, WriterStep::CloseOld);
        };
        if !holds(condemned, pack) {
            self.go("WR references hold, pack", pack, |me, state| checked(me, state), out);
            return;
        }
        let chain = sid_of(self.w, self.me.chain)..self.me.sid(self.w);
        let change = |me: &mut Writer, state: &mut State| {
            state.lost_work |= chain.contains(&pack);
            no_parent(me, state);
            checked(me, state);
        };
        self.go("WR reference is condemned:", pack, change, out);
    }

    fn close_old(&self, out: &mut Steps) {
        let chain = sid_of(self.w, self.me.chain)..self.me.sid(self.w);
        let change = |me: &mut Writer, state: &mut State| {
            chain.for_each(|sid| state.sids[usize::from(sid)].abort());
            me.step = if me.pack == NONE { WriterStep::Choose } else { WriterStep::Commit };
        };
        self.go("WR close the old sid", NONE, change, out);
    }
}

fn no_parent(me: &mut Writer, _: &mut State) {
    (me.parent, me.pack, me.step) = (NONE, NONE, WriterStep::Choose);
}

impl Writer {
    /// What a session reads after W3, but for the condemned packs.
    fn load(&mut self, state: &State) {
        self.view = state.view();
        self.quarantine = state.records != 0;
        self.told = state.named;
    }
}

impl State {
    /// True when nobody will need a pack of this sid for work under way: it is closed, and so is whoever carries it on.
    pub(crate) fn is_abandoned(&self, config: &Config, sid: u8) -> bool {
        let open = |n: u8| {
            let stored = self.sids[usize::from(n)];
            stored.registered() && !stored.closed()
        };
        let carrying = |w: usize| {
            let me = &self.writers[w];
            let carries = sid_of(w, me.chain) <= sid && sid <= me.sid(w);
            carries && (sid..=me.sid(w)).any(open)
        };
        let carried = !config.lacks(Mutation::CarriedIgnored) && (0..config.writers.len()).any(carrying);
        !(open(sid) || carried)
    }

    /// The packs of a set that belong to nobody who is still at work.
    pub(crate) fn abandoned(&self, config: &Config, packs: Packs) -> Packs {
        let own = |pack: u8| pack != 0 && usize::from(pack) < crate::state::COPIES;
        let kept = members(packs).filter(|&p| !own(p) || self.is_abandoned(config, p));
        kept.fold(0, |set, p| set | one(p))
    }
}
