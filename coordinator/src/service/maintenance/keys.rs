//! Changes of keys: never with a secret.

use proto::v1;
use proto::v1::add_key_request::Role as WireRole;
use repository::keys::stored::Changed;
use repository::keys::{Access, Kind, PublicKey, Role};
use repository::ops::forget::Because;
use repository::{Error, ErrorKind, Result};

use crate::core::Core;

pub(super) async fn list(core: &Core) -> Result<v1::KeyList> {
    let list = core.engine.list_keys().await?;
    let credentials = list.credentials.iter().map(|a| credential(a, list.own == Some(a.id))).collect();
    Ok(v1::KeyList {
        domain: list.domain.to_string(),
        version: list.version,
        epoch: list.epoch,
        copies: u32::try_from(list.copies).unwrap_or(u32::MAX),
        credentials,
    })
}

pub(super) async fn add(core: &Core, r: v1::AddKeyRequest, by: String) -> Result<v1::KeysChanged> {
    let role = match r.role() {
        WireRole::Writer => Role::Writer,
        WireRole::Full | WireRole::Unspecified => Role::Full,
    };
    let key: PublicKey = r.recipient.parse().map_err(|e| {
        let what = "the recipient is no public key of a key file (`holdfast key recipient` prints it)";
        Error::with_source(ErrorKind::Input, what, e)
    })?;
    let because = Because { by, why: r.reason };
    let (access, done) = core.engine.add_key(key, role, &r.label, &because).await?;
    tracing::info!(credential = %access.id, by = because.by, "a credential was added to the keys");
    Ok(changed(done, Some(&access)))
}

pub(super) async fn remove(core: &Core, r: v1::RemoveKeyRequest, by: String) -> Result<v1::KeysChanged> {
    let because = Because { by, why: r.reason };
    let (access, done) = core.engine.remove_key(&r.which, &because).await?;
    tracing::info!(credential = %access.id, by = because.by, "a credential was removed from the keys");
    Ok(changed(done, Some(&access)))
}

pub(super) async fn rotate(core: &Core, r: v1::RotateKeysRequest, by: String) -> Result<v1::KeysChanged> {
    let because = Because { by, why: r.reason };
    let done = core.engine.rotate_keys(&because).await?;
    tracing::info!(epoch = done.epoch, by = because.by, "the keys were rotated");
    Ok(changed(done, None))
}

fn changed(done: Changed, access: Option<&Access>) -> v1::KeysChanged {
    v1::KeysChanged {
        version: done.version,
        epoch: done.epoch,
        leftovers: u32::try_from(done.leftovers).unwrap_or(u32::MAX),
        credential: access.map(|a| credential(a, false)),
    }
}

fn credential(access: &Access, in_use: bool) -> v1::KeyCredential {
    // Of a passphrase it would be no use: nobody else makes keys for it.
    let recipient = (access.kind == Kind::KeyFile).then(|| access.public.to_string());
    v1::KeyCredential {
        id: access.id.to_string(),
        kind: access.kind.to_string(),
        role: access.role.to_string(),
        label: access.label.clone(),
        added_unix_nanos: access.added.0,
        recipient: recipient.unwrap_or_default(),
        in_use,
    }
}
