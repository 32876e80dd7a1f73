//! Lists a folder's objects in the order of their keys, one folder's names in memory at each level.

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::super::{Key, Listed, Op, StoreError, StoreResult};
use super::{Folder, TEMP, map_error};

/// Objects of one batch.
const BATCH: usize = 1024;

/// A listing under way.
#[derive(Debug)]
pub(super) struct Walk {
    prefix: String,
    after: Option<String>,
    begun: bool,
    /// The open folders, each with its path (ending in `/`, or empty) and the names to come, the next one last.
    /// A folder's name ends in `/`, as it does in its keys, and is sorted so.
    stack: Vec<(String, Vec<String>)>,
}

impl Walk {
    /// `prefix` is empty or ends in `/`.
    pub(super) fn new(prefix: &str, after: Option<&Key>) -> Self {
        let after = after.map(|key| key.as_str().to_owned());
        Self { prefix: prefix.to_owned(), after, begun: false, stack: Vec::new() }
    }

    /// The next objects; none at the end.
    pub(super) fn next_batch(&mut self, folder: &Folder) -> StoreResult<Vec<Listed>> {
        if !self.begun {
            self.begun = true;
            let first = self.prefix.clone();
            if self.may_hold_more(&first) {
                self.enter(folder, first)?;
            }
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some((path, names)) = self.stack.last_mut() else { break };
            let Some(name) = names.pop() else {
                self.stack.pop();
                continue;
            };
            let text = format!("{path}{name}");
            if text.ends_with('/') {
                if self.may_hold_more(&text) {
                    self.enter(folder, text)?;
                }
                continue;
            }
            if self.after.as_ref().is_some_and(|after| text <= *after) {
                continue;
            }
            // What is no key was not put by us.
            let Ok(key) = Key::new(text) else { continue };
            if let Some((bytes, recorded)) = folder.find(&key)? {
                batch.push(Listed { key, bytes, recorded });
            }
        }
        Ok(batch)
    }

    /// Whether some key below the folder comes after `after`.
    fn may_hold_more(&self, path: &str) -> bool {
        self.after.as_ref().is_none_or(|after| after.starts_with(path) || path > after.as_str())
    }

    fn enter(&mut self, folder: &Folder, path: String) -> StoreResult<()> {
        let failed = |e: Errno| -> StoreError { map_error(Op::List, &path, "can't read the folder", e) };
        let fd = match folder.open_folder(path.trim_end_matches('/')) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." || (path.is_empty() && name == TEMP) {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::RegularFile => false,
                FileType::Unknown => match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
                    Err(Errno::NOENT) => continue,
                    Err(e) => return Err(failed(e)),
                },
                _ => continue,
            };
            names.push(if is_folder { format!("{name}/") } else { name.to_owned() });
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.stack.push((path, names));
        Ok(())
    }
}
