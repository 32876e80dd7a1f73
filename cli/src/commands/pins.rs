//! `pin` and `unpin`: what is kept whatever the rules say.

use anyhow::Result;
use repository::ops::{noted, snapshots};
use serde::Serialize;

use super::life::{because, open};
use crate::app::{App, Where};
use crate::args::PinArgs;
use crate::exit::Exit;
use crate::output;

/// What became of the snapshot.
#[derive(Debug, Serialize)]
struct PinRecord {
    id: String,
    pinned: bool,
}

/// Pins, or takes a pin back.
pub(super) async fn pin(app: &App, args: &PinArgs, pinned: bool) -> Result<Exit> {
    let id = match app.place()? {
        Where::Coordinator(url) => app.or_cancel(app.remote(url)?.pin(args, pinned)).await??,
        Where::Repo(_) => {
            let repo = open(app).await?;
            let found = snapshots::get(&repo, &args.snapshot, args.volume.as_deref());
            let snapshot = app.or_cancel(found).await??;
            let because = because(if pinned { "pin" } else { "unpin" }, &args.reason);
            match pinned {
                true => app.or_cancel(noted::pin(&repo, &snapshot, &because)).await??,
                false => app.or_cancel(noted::unpin(&repo, &snapshot, &because)).await??,
            }
            snapshot.id
        }
    };
    let record = PinRecord { id: id.to_string(), pinned };
    output::print(app.format(), &record, |r| {
        let word = if r.pinned { "is kept whatever the rules say" } else { "is left to the rules again" };
        format!("{} {word}\n", &r.id[..8])
    })?;
    Ok(Exit::Done)
}
