//! `key` through a coordinator: what takes no secret. A passphrase or a private key is never sent, whatever the connection.

use anyhow::Result;
use proto::v1::{self, add_key_request};
use repository::env::Timestamp;
use repository::keys::stored::Changed;

use super::{CredentialRecord, KeyListRecord, print_changed, print_list, print_removed, print_rotated};
use crate::app::App;
use crate::args::{KeyAddArgs, KeyCommand, RoleArg};
use crate::escape::tame;
use crate::exit::{Exit, usage};
use crate::records::time;
use crate::remote::Remote;

/// Runs what a coordinator can do; the rest is refused, with where to do it.
pub(super) async fn key(app: &App, remote: &Remote, command: KeyCommand) -> Result<Exit> {
    match command {
        KeyCommand::List => {
            let list = app.or_cancel(remote.list_keys()).await??;
            let added: Vec<_> = list.credentials.iter().map(|c| Timestamp(c.added_unix_nanos)).collect();
            print_list(app, &KeyListRecord::from(list), &added)
        }
        KeyCommand::Add(args) => add(app, remote, args).await,
        KeyCommand::Remove { which, reason } => {
            let request = v1::RemoveKeyRequest { which, reason };
            let done = app.or_cancel(remote.remove_key(request)).await??;
            let gone = done.credential.clone().unwrap_or_default();
            print_removed(app, (&gone.kind, &gone.id), &app.domain().to_string(), changed(&done))
        }
        KeyCommand::Rotate { reason } => {
            let done = app.or_cancel(remote.rotate_keys(v1::RotateKeysRequest { reason })).await??;
            print_rotated(app, changed(&done))
        }
        KeyCommand::Export { .. } | KeyCommand::Import { .. } => {
            Err(usage("keys are secrets, and never sent: do this on the store itself, with --repo URL"))
        }
        KeyCommand::Generate { .. } | KeyCommand::Recipient => {
            Err(usage("this is about a file of this machine, not of the coordinator's"))
        }
    }
}

async fn add(app: &App, remote: &Remote, args: KeyAddArgs) -> Result<Exit> {
    let Some(recipient) = args.recipient else {
        return Err(usage(
            "through a coordinator only a public key is let in (--recipient, see `holdfast key generate`): a passphrase or a \
             private key is a secret, and never sent; add it on the store itself, with --repo URL",
        ));
    };
    let role = match args.role {
        RoleArg::Full => add_key_request::Role::Full,
        RoleArg::Writer => add_key_request::Role::Writer,
    };
    let request = v1::AddKeyRequest {
        recipient: recipient.to_string(),
        role: role.into(),
        label: args.label,
        reason: args.reason,
    };
    let done = app.or_cancel(remote.add_key(request)).await??;
    let new = done.credential.clone().unwrap_or_default();
    let [kind, id, role] = [&new.kind, &new.id, &new.role].map(|t| tame(t));
    let text = format!("{kind} {id} may open domain {} now, role {role}\n", app.domain());
    print_changed(app, "add", Some(new.id), changed(&done), &text)
}

fn changed(done: &v1::KeysChanged) -> Changed {
    let leftovers = usize::try_from(done.leftovers).unwrap_or(usize::MAX);
    Changed { version: done.version, epoch: done.epoch, leftovers }
}

impl From<v1::KeyList> for KeyListRecord {
    fn from(list: v1::KeyList) -> Self {
        let credential = |c: v1::KeyCredential| CredentialRecord {
            id: c.id,
            kind: c.kind,
            role: c.role,
            label: c.label,
            added: time(Timestamp(c.added_unix_nanos)),
            recipient: Some(c.recipient).filter(|r| !r.is_empty()),
            in_use: c.in_use,
        };
        Self {
            domain: list.domain,
            version: list.version,
            epoch: list.epoch,
            copies: usize::try_from(list.copies).unwrap_or(usize::MAX),
            credentials: list.credentials.into_iter().map(credential).collect(),
        }
    }
}
