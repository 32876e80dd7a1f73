//! The table of mounts, as `/proc/self/mountinfo` has it.
//!
//! Lines hold names that users chose (of volumes, sources, paths): nothing in them is trusted. A line that makes no sense is left
//! out, so that its mount is not found, and never guessed at.

use std::collections::HashMap;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its id: that of `statx`, unique among the mounts that are there now.
    pub(crate) id: u64,
    /// The path at which it is, without escapes.
    pub(crate) point: Vec<u8>,
    /// Its device.
    pub(crate) device: (u32, u32),
    /// Which part of the file system it shows.
    pub(crate) root: Vec<u8>,
    /// Kind of file system.
    pub(crate) kind: Vec<u8>,
}

/// All mounts of a mount namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    mounts: Vec<Mount>,
    /// The topmost mount at each path.
    tops: HashMap<Vec<u8>, usize>,
    /// Which mounts lie below `<kubelet root>/pods/<uid>/`.
    pods: HashMap<Vec<u8>, Vec<usize>>,
}

impl Table {
    /// Reads a table; `pods` is kubelet's folder of pods, by which mounts are put together.
    pub(crate) fn parse(text: &[u8], pods: &[u8]) -> Self {
        let mut table = Self::default();
        for mount in text.split(|b| *b == b'\n').filter_map(parse_line) {
            let number = table.mounts.len();
            // Later ones are mounted over earlier ones.
            table.tops.insert(mount.point.clone(), number);
            if let Some(uid) = below(&mount.point, pods).and_then(|rest| rest.split(|b| *b == b'/').next()) {
                table.pods.entry(uid.to_vec()).or_default().push(number);
            }
            table.mounts.push(mount);
        }
        table
    }

    /// What is mounted exactly there; of several the topmost.
    pub(crate) fn find(&self, point: &[u8]) -> Option<&Mount> {
        self.tops.get(point).and_then(|n| self.mounts.get(*n))
    }

    /// The mounts below a pod's folder, those that others hide among them.
    pub(crate) fn of_pod(&self, uid: &str) -> impl Iterator<Item = &Mount> {
        let numbers = self.pods.get(uid.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|n| self.mounts.get(*n))
    }

    /// Whether this is the topmost at its path.
    pub(crate) fn is_top(&self, mount: &Mount) -> bool {
        self.find(&mount.point).is_some_and(|top| top.id == mount.id)
    }
}

/// What follows a folder in a path below it.
pub(crate) fn below<'p>(path: &'p [u8], folder: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(folder)?.strip_prefix(b"/").filter(|rest| !rest.is_empty())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let _parent: u64 = number(fields.next()?)?;
    let mut device = fields.next()?.split(|b| *b == b':');
    let device = (number(device.next()?)?, number(device.next()?)?);
    let root = unescape(fields.next()?)?;
    let point = unescape(fields.next()?)?;
    let _options = fields.next()?;
    // Optional fields, as many as there are, until a dash.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = unescape(fields.next()?)?;
    point.starts_with(b"/").then_some(Mount { id, point, device, root, kind })
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// The kernel writes blanks, line ends, backslashes and `#` as three octal digits.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'\\' {
            out.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..3)?;
        let value = digits.iter().try_fold(0u32, |sum, digit| {
            matches!(digit, b'0'..=b'7').then(|| sum * 8 + u32::from(digit - b'0'))
        })?;
        out.push(u8::try_from(value).ok()?);
        rest = &after[3..];
    }
    Some(out)
}

#[cfg(test)]
mod tests;
