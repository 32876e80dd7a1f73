//! The names of one directory, sorted, in bounded memory.
//!
//! Names lie one after the other in an arena (length byte, bytes) that is sorted by offset. When it would grow too
//! large it is written to a temporary file as a sorted run; runs are merged when the names are taken. A name that the
//! directory listed twice (it changed meanwhile) comes once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Bytes of a run that are in memory while it is merged; more than one record, always.
const RUN_BUFFER_BYTES: usize = 16 << 10;
/// Length byte and longest name.
const RECORD_BYTES_MAX: usize = 1 + u8::MAX as usize;
/// Runs are written in pieces of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// The temporary file of a walk; it has no name and goes with the walk.
#[derive(Debug, Default)]
pub(super) struct Spill {
    /// Where to make it; the system's place for temporary files if not said.
    dir: Option<PathBuf>,
    file: Option<File>,
    end: u64,
    runs: usize,
}

impl Spill {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, ..Self::default() }
    }

    /// Appends bytes to the run that is being written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(match &self.dir {
                Some(dir) => tempfile::tempfile_in(dir)?,
                None => tempfile::tempfile()?,
            }),
        };
        file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn read(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(out, at),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Takes back the space when no run is left.
    fn release(&mut self, runs: usize) {
        self.runs -= runs;
        if self.runs == 0 && self.end > 0 {
            self.end = 0;
            // Only space is lost if that fails: the next run overwrites.
            let _ = self.file.as_ref().map(|f| f.set_len(0));
        }
    }
}

/// The names of one directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    arena: Vec<u8>,
    order: Vec<u32>,
    /// How many of `order` are taken.
    taken: usize,
    runs: Vec<Run>,
    /// The next name of each run that has one.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    last: Vec<u8>,
}

#[derive(Debug)]
struct Run {
    /// Where the buffer begins in the file, and where the run ends.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    pos: usize,
}

impl Names {
    /// Adds a name of at most 255 bytes. The caller spills before the arena outgrows 4 GiB.
    pub(super) fn push(&mut self, name: &[u8]) {
        let len = u8::try_from(name.len()).expect("names were checked to be short");
        let offset = u32::try_from(self.arena.len()).expect("the arena is spilled long before");
        self.order.push(offset);
        self.arena.push(len);
        self.arena.extend_from_slice(name);
    }

    /// Bytes of memory that the names take.
    pub(super) fn memory(&self) -> usize {
        self.arena.len() + self.order.len() * size_of::<u32>()
    }

    /// Ends the listing: from here on names can be taken.
    pub(super) fn finish(&mut self, spill: &mut Spill) -> io::Result<()> {
        if !self.runs.is_empty() {
            self.write_run(spill)?;
            return self.load_heads(spill);
        }
        self.sort();
        self.arena.shrink_to_fit();
        self.order.shrink_to_fit();
        Ok(())
    }

    /// Writes what is in memory as a run, during the listing.
    pub(super) fn write_run(&mut self, spill: &mut Spill) -> io::Result<()> {
        self.sort();
        self.write_sorted(spill)
    }

    /// Moves the names that are not taken yet out of memory, after the listing.
    pub(super) fn spill_rest(&mut self, spill: &mut Spill) -> io::Result<()> {
        if self.arena.is_empty() {
            return Ok(());
        }
        self.write_sorted(spill)?;
        self.load_heads(spill)
    }

    /// Puts the next name into `out`; false if there is none.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, spill: &Spill) -> io::Result<bool> {
        out.clear();
        if let Some(offset) = self.order.get(self.taken) {
            self.taken += 1;
            out.extend_from_slice(name_at(&self.arena, *offset));
            return Ok(true);
        }
        while let Some(Reverse((name, run))) = self.heads.pop() {
            if let Some(next) = self.runs[run].next(spill)? {
                self.heads.push(Reverse((next, run)));
            }
            if name != self.last {
                out.extend_from_slice(&name);
                self.last = name;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Frees the buffers of runs until the next name is taken: many levels may wait at once.
    pub(super) fn park(&mut self) {
        for run in &mut self.runs {
            run.at += run.pos as u64;
            run.pos = 0;
            run.buffer = Vec::new();
        }
    }

    /// Gives the runs back.
    pub(super) fn close(self, spill: &mut Spill) {
        if !self.runs.is_empty() {
            spill.release(self.runs.len());
        }
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.order.sort_unstable_by(|a, b| name_at(arena, *a).cmp(name_at(arena, *b)));
        self.order.dedup_by(|a, b| name_at(arena, *a) == name_at(arena, *b));
    }

    fn write_sorted(&mut self, spill: &mut Spill) -> io::Result<()> {
        let at = spill.end;
        let mut piece = Vec::with_capacity(WRITE_BYTES.min(self.arena.len()) + RECORD_BYTES_MAX);
        for offset in &self.order[self.taken..] {
            let start = *offset as usize;
            let record = &self.arena[start..=start + usize::from(self.arena[start])];
            piece.extend_from_slice(record);
            if piece.len() >= WRITE_BYTES {
                spill.append(&piece)?;
                piece.clear();
            }
        }
        spill.append(&piece)?;
        spill.runs += 1;
        self.runs.push(Run { at, end: spill.end, buffer: Vec::new(), pos: 0 });
        (self.arena, self.order, self.taken) = (Vec::new(), Vec::new(), 0);
        Ok(())
    }

    fn load_heads(&mut self, spill: &Spill) -> io::Result<()> {
        for (number, run) in self.runs.iter_mut().enumerate() {
            if let Some(name) = run.next(spill)? {
                self.heads.push(Reverse((name, number)));
            }
        }
        Ok(())
    }
}

impl Run {
    fn next(&mut self, spill: &Spill) -> io::Result<Option<Vec<u8>>> {
        let left = self.end - self.at - self.pos as u64;
        if left == 0 {
            return Ok(None);
        }
        if self.buffer.len() - self.pos < RECORD_BYTES_MAX.min(usize::try_from(left).unwrap_or(usize::MAX)) {
            self.at += self.pos as u64;
            self.pos = 0;
            self.buffer.resize(RUN_BUFFER_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX)), 0);
            spill.read(&mut self.buffer, self.at)?;
        }
        let name = name_at(&self.buffer, u32::try_from(self.pos).unwrap_or(u32::MAX)).to_vec();
        self.pos += 1 + name.len();
        Ok(Some(name))
    }
}

fn name_at(records: &[u8], offset: u32) -> &[u8] {
    let start = offset as usize + 1;
    &records[start..start + usize::from(records[start - 1])]
}

#[cfg(test)]
mod tests;
