//! Results on disk, one file each, until the coordinator acknowledges them.
//!
//! A file is there whole or not at all. Losing one only makes the coordinator run the job again, so trouble here is
//! logged and never stops a job.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use proto::convert;
use proto::job::{Job, JobId, JobResult};

use crate::limits::RESULT_BYTES_MAX;

/// The folder of kept results.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// Creates the folder.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("results");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Keeps one.
    pub(super) fn put(&self, job: &Job, result: &JobResult) {
        let write = || {
            let temporary = self.folder.join(format!("{}.new", job.id));
            let mut file = File::create(&temporary)?;
            file.write_all(&convert::encode_kept(job, result))?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(job.id))?;
            File::open(&self.folder)?.sync_all()
        };
        if let Err::<(), io::Error>(e) = write() {
            tracing::warn!(job = %job.id, error = %e, "the result is only kept in memory");
        }
    }

    /// Forgets one.
    pub(super) fn remove(&self, id: JobId) {
        match fs::remove_file(self.path(id)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!(job = %id, error = %e, "an acknowledged result is not removed"),
        }
    }

    /// All of them; files that make no sense are named and left out.
    pub(super) fn load(&self) -> BTreeMap<JobId, (Job, JobResult)> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) => {
                tracing::warn!(folder = %self.folder.display(), error = %e, "kept results can't be read");
                return BTreeMap::new();
            }
        };
        let mut out = BTreeMap::new();
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some() {
                continue;
            }
            match read(&path) {
                Ok((job, result)) => {
                    out.insert(job.id, (job, result));
                }
                Err(e) => tracing::warn!(file = %path.display(), error = e, "kept result makes no sense"),
            }
        }
        out
    }
}

fn read(path: &Path) -> Result<(Job, JobResult), String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(RESULT_BYTES_MAX).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let (job, result) = convert::decode_kept(&bytes).map_err(|e| e.chain())?;
    match path.file_name().is_some_and(|n| n == job.id.to_string().as_str()) {
        true => Ok((job, result)),
        false => Err(format!("it is of job {}", job.id)),
    }
}
