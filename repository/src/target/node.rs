//! Everything that is neither a directory nor a regular file, and hard links.

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Dir, Naming, Target, TargetError, TargetResult, meta, open_beneath, split, tried};
use crate::items::entry::{Kind, Meta};

impl Target {
    /// Makes a symlink, fifo, socket or device with its metadata. What could not be set is noted.
    pub fn create_node(
        &self,
        path: &[u8],
        kind: &Kind,
        meta: &Meta,
        naming: Naming,
        notes: &mut Vec<String>,
    ) -> TargetResult<()> {
        let (dir, name) = split(path)?;
        let dir = self.dir(dir)?;
        let temporary = (naming == Naming::Replace).then(|| self.temporary());
        let present = temporary.as_deref().unwrap_or(name);
        make(&dir, present, kind)?;
        self.dress(&dir, present, kind, meta, notes)?;
        match &temporary {
            Some(temporary) => Self::put_in_place(&dir, temporary, name),
            None => Ok(()),
        }
    }

    fn dress(
        &self,
        dir: &Dir,
        name: &[u8],
        kind: &Kind,
        meta: &Meta,
        notes: &mut Vec<String>,
    ) -> TargetResult<()> {
        let is_link = matches!(kind, Kind::Symlink(_));
        let owned = meta.uid == self.me.uid && meta.gid == dir.gid();
        if !is_link || !owned || !meta.xattrs.is_empty() {
            let fd = tried("open", open_beneath(dir.fd(), name, OFlags::PATH, Mode::empty()))?;
            let have = meta::Have {
                uid: self.me.uid,
                gid: dir.gid(),
                mode: None,
                acl: dir.acl() && !is_link,
                old_xattrs: false,
            };
            meta::apply_unopened(&fd, is_link, have, meta, notes);
        }
        let times =
            rustix::fs::utimensat(dir.fd(), name, &meta::times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW);
        meta::note("set times", times, notes);
        Ok(())
    }

    /// Gives what lies at `first` a second name.
    pub fn link(&self, first: &[u8], path: &[u8], naming: Naming) -> TargetResult<()> {
        let (from, old) = split(first)?;
        let (to, name) = split(path)?;
        let (from, to) = (self.dir(from)?, self.dir(to)?);
        let temporary = (naming == Naming::Replace).then(|| self.temporary());
        let present = temporary.as_deref().unwrap_or(name);
        tried("link", rustix::fs::linkat(from.fd(), old, to.fd(), present, AtFlags::empty()))?;
        if let Some(temporary) = &temporary {
            Self::put_in_place(&to, temporary, name)?;
            // Renaming one name of a file over another name of it does nothing, and leaves both.
            let _ = rustix::fs::unlinkat(to.fd(), temporary.as_slice(), AtFlags::empty());
        }
        Ok(())
    }
}

fn make(dir: &Dir, name: &[u8], kind: &Kind) -> TargetResult<()> {
    let node = |file_type: FileType, device: u64| {
        tried("create", rustix::fs::mknodat(dir.fd(), name, file_type, Mode::RUSR | Mode::WUSR, device))
    };
    match kind {
        Kind::Symlink(target) if target.contains(&0) => tried("create", Err(Errno::INVAL)),
        Kind::Symlink(target) => tried("create", rustix::fs::symlinkat(target.as_slice(), dir.fd(), name)),
        Kind::Fifo => node(FileType::Fifo, 0),
        Kind::Socket => node(FileType::Socket, 0),
        Kind::CharDevice(major, minor) => {
            node(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
        }
        Kind::BlockDevice(major, minor) => node(FileType::BlockDevice, rustix::fs::makedev(*major, *minor)),
        Kind::File(_) => Err(TargetError::BadName("a regular file is not a node".to_owned())),
        Kind::Directory => Err(TargetError::IsDirectory),
    }
}
