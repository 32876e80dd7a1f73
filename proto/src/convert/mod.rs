//! Between wire types and our own values. Bytes from the wire never panic: what makes no sense is an `Input` error.
//!
//! What the wire leaves out: a snapshot's summary and the places of file content. They come back empty, so values
//! from the wire serve to show and to name things, never to restore from.

mod check;
mod entry;
mod figures;
mod job;
mod lookup;
mod report;
mod snapshot;
mod status;
mod task;

#[cfg(test)]
mod tests;

use repository::{Error, ErrorKind, Result};

pub use check::{
    AGE_SECONDS_MAX, Check, DESTINATION_BYTES_MAX, FOLDER_BYTES_MAX, HOST_BYTES_MAX, JOBS_AT_ONCE_MAX,
    LIST_ITEMS_MAX, LOCK_DAYS_MAX, PATH_BYTES_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX, REASON_BYTES_MAX,
    RESTORE_ROOTS_MAX, RUNS_LISTED_MAX, TAG_BYTES_MAX, TAGS_MAX, VOLUME_BYTES_MAX, VOLUMES_MAX, check_name,
};
pub use entry::{change_from_wire, change_to_wire, entry_from_wire, entry_to_wire};
pub use figures::{
    between_from_wire, between_to_wire, detail_from_wire, detail_to_wire, freed_from_wire, freed_to_wire,
    join_parts,
};
pub use job::{
    decode_kept, decode_result, decode_spec, encode_kept, encode_result, encode_spec, existing_from_wire,
    existing_to_wire, job_from_wire, job_id_from_wire, job_to_wire, result_from_wire, result_to_wire,
};
pub use lookup::{ids_from_wire, ids_to_wire, places_from_wire, places_to_wire};
pub use report::{
    failure_from_wire, failure_to_wire, figures_from_wire, figures_to_wire, problems_from_wire,
    problems_to_wire,
};
pub use snapshot::{health_from_wire, health_to_wire, sid_from_wire, snapshot_from_wire, snapshot_to_wire};
pub use status::{ERROR_KIND_KEY, error_from_status, error_to_status};
pub use task::{
    decode_task_result, decode_task_spec, encode_task_result, encode_task_spec, rules_from_wire,
    rules_to_wire, task_id_from_wire, task_result_from_wire, task_result_to_wire, task_spec_from_wire,
    task_spec_to_wire,
};

fn fixed<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| bad(what, format!("{} bytes instead of {N}", bytes.len())))
}

fn bad(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Input, format!("message field {what}: {why}"))
}
