//! A set of ordinals: runs while they are few, one bit each when they are scattered.

/// A set of small numbers. Never takes more than about one bit for each number up to its largest.
#[derive(Clone, Debug, Default)]
pub struct OrdinalSet(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Disjoint, ascending, with gaps between: start and end (exclusive).
    Runs(Vec<(u32, u32)>),
    Bits(Vec<u64>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Runs(Vec::new())
    }
}

/// Few runs stay runs, however scattered.
const RUNS_MIN: usize = 16;

impl OrdinalSet {
    /// Adds a number.
    pub fn insert(&mut self, ordinal: u32) {
        self.insert_run(ordinal, 1);
    }

    /// Adds `n` numbers from `start` on.
    pub fn insert_run(&mut self, start: u32, n: u32) {
        let end = start.saturating_add(n);
        match &mut self.0 {
            Form::Runs(runs) => {
                merge(runs, start, end);
                let last = runs.last().map_or(0, |r| r.1) as usize;
                if runs.len() > RUNS_MIN && runs.len() * 64 > last {
                    let mut bits = Vec::with_capacity(last / 64 + 1);
                    runs.iter().for_each(|r| set_bits(&mut bits, r.0, r.1));
                    self.0 = Form::Bits(bits);
                }
            }
            Form::Bits(bits) => set_bits(bits, start, end),
        }
    }

    /// Maximal runs of numbers in it, ascending: start and length.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let (start, end) = self.run_from(next)?;
            next = end;
            Some((start, end - start))
        })
    }

    /// The first run that begins at or after `at`, in whole: start and end.
    fn run_from(&self, at: u32) -> Option<(u32, u32)> {
        match &self.0 {
            Form::Runs(runs) => runs.get(runs.partition_point(|r| r.0 < at)).copied(),
            Form::Bits(bits) => {
                let start = find_bit(bits, at, true)?;
                let end = find_bit(bits, start, false).unwrap_or_else(|| bit_count(bits));
                Some((start, end))
            }
        }
    }

    /// All numbers in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs().flat_map(|(start, n)| start..start + n)
    }

    /// True if it has this number.
    #[must_use]
    pub fn contains(&self, ordinal: u32) -> bool {
        match &self.0 {
            Form::Runs(runs) => {
                runs.get(runs.partition_point(|r| r.1 <= ordinal)).is_some_and(|r| r.0 <= ordinal)
            }
            Form::Bits(bits) => bits.get(ordinal as usize / 64).is_some_and(|w| w >> (ordinal % 64) & 1 == 1),
        }
    }

    /// The largest number.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        match &self.0 {
            Form::Runs(runs) => runs.last().map(|r| r.1 - 1),
            Form::Bits(_) => self.runs().last().map(|(start, n)| start + n - 1),
        }
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs().map(|(_, n)| u64::from(n)).sum()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.run_from(0).is_none()
    }
}

impl PartialEq for OrdinalSet {
    fn eq(&self, other: &Self) -> bool {
        self.runs().eq(other.runs())
    }
}

impl Eq for OrdinalSet {}

impl FromIterator<u32> for OrdinalSet {
    fn from_iter<T: IntoIterator<Item = u32>>(numbers: T) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|n| set.insert(n));
        set
    }
}

fn merge(runs: &mut Vec<(u32, u32)>, start: u32, end: u32) {
    if start >= end {
        return;
    }
    // Numbers mostly come ascending.
    if let Some(last) = runs.last_mut()
        && last.0 <= start
        && start <= last.1
    {
        last.1 = last.1.max(end);
        return;
    }
    let from = runs.partition_point(|r| r.1 < start);
    let to = runs.partition_point(|r| r.0 <= end);
    let joined = runs[from..to].iter().fold((start, end), |j, r| (j.0.min(r.0), j.1.max(r.1)));
    runs.splice(from..to, [joined]);
}

fn bit_count(bits: &[u64]) -> u32 {
    u32::try_from(bits.len() * 64).unwrap_or(u32::MAX)
}

fn set_bits(bits: &mut Vec<u64>, start: u32, end: u32) {
    let words = (end as usize).div_ceil(64);
    if bits.len() < words {
        bits.resize(words, 0);
    }
    let mut at = start;
    while at < end {
        let in_word = at % 64;
        let n = (64 - in_word).min(end - at);
        bits[at as usize / 64] |= (u64::MAX >> (64 - n)) << in_word;
        at += n;
    }
}

/// The first bit at or after `at` that is `value`.
fn find_bit(bits: &[u64], at: u32, value: bool) -> Option<u32> {
    let first = at as usize / 64;
    let seen = |w: u64| if value { w } else { !w };
    for (i, &word) in bits.iter().enumerate().skip(first) {
        let mask = if i == first { u64::MAX << (at % 64) } else { u64::MAX };
        let left = seen(word) & mask;
        if left != 0 {
            return u32::try_from(i * 64).ok().map(|base| base + left.trailing_zeros());
        }
    }
    None
}
