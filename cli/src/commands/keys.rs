//! `key` and `domain`: who may open what.

mod through;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use repository::env::Timestamp;
use repository::error::Context as _;
use repository::keys::stored::Changed;
use repository::keys::{Access, Credential};
use repository::ops::forget::Because;
use repository::ops::init::InitOptions;
use repository::ops::keys::{self, KeyList, NewCredential};
use repository::ops::{Repository, domains, noted};
use repository::store::Store;
use repository::{Error, ErrorKind};
use serde::Serialize;

use crate::app::{App, Where};
use crate::args::{DomainCommand, KeyAddArgs, KeyCommand, NewKey};
use crate::escape::tame;
use crate::exit::{Exit, usage};
use crate::key::{self, KeySource};
use crate::records::{local_time, time};
use crate::{logs, output, store};

/// An export is never larger.
const EXPORT_BYTES_MAX: u64 = 4 << 20;

fn url(app: &App) -> Result<&str> {
    match app.place()? {
        Where::Repo(url) => Ok(url),
        Where::Coordinator(_) => Err(usage("this command works on the store itself: pass --repo URL")),
    }
}

async fn open(app: &App) -> Result<Arc<Repository>> {
    app.open(url(app)?, 0, None).await
}

async fn open_store(app: &App) -> Result<Arc<dyn Store>> {
    let url = url(app)?;
    Ok(app.store(url, None).await?.map_err(|e| e.context(format!("open {url}")))?)
}

pub(super) async fn key(app: &App, command: KeyCommand) -> Result<Exit> {
    let is_of_a_file = matches!(command, KeyCommand::Generate { .. } | KeyCommand::Recipient);
    if !is_of_a_file && let Where::Coordinator(url) = app.place()? {
        return through::key(app, &app.remote(url)?, command).await;
    }
    match command {
        KeyCommand::List => list(app).await,
        KeyCommand::Add(args) => add(app, args).await,
        KeyCommand::Remove { which, reason } => remove(app, &which, reason).await,
        KeyCommand::Rotate { reason } => rotate(app, reason).await,
        KeyCommand::Export { out, with, bare } => export(app, out, with, bare).await,
        KeyCommand::Import { file, replace } => import(app, &file, replace).await,
        KeyCommand::Generate { file } => generate(app, &file),
        KeyCommand::Recipient => recipient(app),
    }
}

/// One credential.
#[derive(Debug, Serialize)]
struct CredentialRecord {
    id: String,
    kind: String,
    role: String,
    label: String,
    added: String,
    recipient: Option<String>,
    in_use: bool,
}

impl CredentialRecord {
    fn new(access: &Access, in_use: bool) -> Self {
        // Of a passphrase it would be no use: nobody else makes keys for it.
        let is_file = access.kind == repository::keys::Kind::KeyFile;
        Self {
            id: access.id.to_string(),
            kind: access.kind.to_string(),
            role: access.role.to_string(),
            label: access.label.clone(),
            added: time(access.added),
            recipient: is_file.then(|| access.public.to_string()),
            in_use,
        }
    }
}

/// `key list`
#[derive(Debug, Serialize)]
struct KeyListRecord {
    domain: String,
    version: u32,
    epoch: u32,
    copies: usize,
    credentials: Vec<CredentialRecord>,
}

impl From<&KeyList> for KeyListRecord {
    fn from(list: &KeyList) -> Self {
        let credentials = list.credentials.iter();
        Self {
            domain: list.domain.to_string(),
            version: list.version,
            epoch: list.epoch,
            copies: list.copies,
            credentials: credentials.map(|a| CredentialRecord::new(a, list.own == Some(a.id))).collect(),
        }
    }
}

async fn list(app: &App) -> Result<Exit> {
    let repo = open(app).await?;
    let list = app.or_cancel(keys::list(&repo)).await??;
    let added: Vec<Timestamp> = list.credentials.iter().map(|a| a.added).collect();
    print_list(app, &KeyListRecord::from(&list), &added)
}

/// Prints who may open the domain, and when each was added.
fn print_list(app: &App, record: &KeyListRecord, added: &[Timestamp]) -> Result<Exit> {
    output::print(app.format(), record, |r| {
        let rows = r.credentials.iter().zip(added).map(|(c, added)| {
            let mark = if c.in_use { "in use" } else { "" };
            let added = local_time(*added);
            vec![tame(&c.id), tame(&c.kind), tame(&c.role), added, tame(&c.label), mark.to_owned()]
        });
        let table = output::table(&["ID", "KIND", "ROLE", "ADDED", "LABEL", ""], rows);
        let copies = match r.copies {
            2 => String::new(),
            n => format!("; only {n} of the 2 copies is whole: `holdfast key rotate` writes both anew"),
        };
        format!("{table}\nepoch {}, version {}{copies}\n", r.epoch, r.version)
    })?;
    Ok(if record.copies == 2 { Exit::Done } else { Exit::Partial })
}

/// What a change came to.
#[derive(Debug, Serialize)]
struct ChangedRecord {
    what: String,
    id: Option<String>,
    version: u32,
    epoch: u32,
    leftovers: usize,
}

fn print_changed(app: &App, what: &str, id: Option<String>, changed: Changed, text: &str) -> Result<Exit> {
    let record = ChangedRecord {
        what: what.to_owned(),
        id,
        version: changed.version,
        epoch: changed.epoch,
        leftovers: changed.leftovers,
    };
    output::print(app.format(), &record, |_| text.to_owned())?;
    if changed.leftovers > 0 {
        tracing::warn!(
            "{} objects of older key rings could not be deleted: who was removed can still open these",
            changed.leftovers
        );
    }
    Ok(if changed.leftovers == 0 { Exit::Done } else { Exit::Partial })
}

/// A new credential, and the path of a key file that was made for it.
async fn read_new(app: &App, with: NewKey) -> Result<(Credential, Option<PathBuf>)> {
    let source = match (with.new_passphrase_file, with.new_key_file) {
        (Some(path), _) => KeySource::PassphraseFile(path),
        (_, Some(path)) => KeySource::KeyFile(path),
        _ => KeySource::Prompt,
    };
    let env = app.env.clone();
    tokio::task::spawn_blocking(move || key::read_new(&source, &env)).await?
}

async fn add(app: &App, args: KeyAddArgs) -> Result<Exit> {
    let repo = open(app).await?;
    let (new, made) = match args.recipient {
        Some(key) => (NewCredential::Recipient(key), None),
        None => {
            let (credential, made) = read_new(app, args.with).await?;
            (NewCredential::Held(credential), made)
        }
    };
    let (access, changed) =
        app.or_cancel(keys::add(&repo, new, args.role.into(), &args.label, &author(args.reason))).await??;
    if let Some(path) = made {
        logs::say(&format!("made the key file {}", path.display()));
    }
    let text = format!(
        "{} {} may open domain {} now, role {}\n",
        access.kind,
        access.id,
        repo.keys.domain(),
        access.role
    );
    print_changed(app, "add", Some(access.id.to_string()), changed, &text)
}

async fn remove(app: &App, which: &str, reason: String) -> Result<Exit> {
    let repo = open(app).await?;
    let list = app.or_cancel(keys::list(&repo)).await??;
    let access = keys::find(&list.credentials, which)?;
    let changed = app.or_cancel(keys::remove(&repo, access.id, &author(reason))).await??;
    let domain = repo.keys.domain().as_str();
    print_removed(app, (&access.kind.to_string(), &access.id.to_string()), domain, changed)
}

fn print_removed(app: &App, (kind, id): (&str, &str), domain: &str, changed: Changed) -> Result<Exit> {
    let text = format!(
        "{} {} opens domain {} no more\n\
         whoever held it may have kept the keys: `holdfast key rotate` protects what is written from now on;\n\
         for what is stored already, `holdfast gc --reencrypt-below EPOCH` seals it again afterwards\n",
        tame(kind),
        tame(id),
        tame(domain)
    );
    print_changed(app, "remove", Some(id.to_owned()), changed, &text)
}

/// Who did it, for the audit.
fn author(reason: String) -> String {
    noted::author(&Because { by: keys::COMMAND.to_owned(), why: reason })
}

async fn rotate(app: &App, reason: String) -> Result<Exit> {
    let repo = open(app).await?;
    let changed = app.or_cancel(keys::rotate(&repo, &author(reason))).await??;
    print_rotated(app, changed)
}

fn print_rotated(app: &App, changed: Changed) -> Result<Exit> {
    let text = format!(
        "epoch {} has begun: backups that begin from now on are sealed under it; exports made before lack it\n",
        changed.epoch
    );
    print_changed(app, "rotate", None, changed, &text)
}

async fn export(app: &App, out: Option<PathBuf>, with: NewKey, bare: bool) -> Result<Exit> {
    let repo = open(app).await?;
    let credential = if bare { None } else { Some(read_new(app, with).await?) };
    if let Some((_, Some(path))) = &credential {
        logs::say(&format!("made the key file {}: keep it apart from the export", path.display()));
    }
    let text = app.or_cancel(keys::export(&repo, credential.map(|(c, _)| c))).await??;
    match out {
        None => output::write(text.as_bytes()).and_then(|()| output::flush())?,
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let written = file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()));
            written.context(ErrorKind::Key, || format!("write {}", path.display()))?;
            logs::say(&format!(
                "wrote {}; keep it apart from the store, and make a new one after each rotation",
                path.display()
            ));
        }
    }
    Ok(Exit::Done)
}

async fn import(app: &App, file: &Path, replace: bool) -> Result<Exit> {
    let store = open_store(app).await?;
    let text = read_export(file)?;
    let export = repository::keys::import(&text).context(ErrorKind::Input, || file.display().to_string())?;
    if app.global.domain.as_ref().is_some_and(|d| d != export.domain()) {
        return Err(usage(format!("the export is of domain {}", export.domain())));
    }
    let (source, env, is_bare) = (app.key().clone(), app.env.clone(), export.is_bare());
    let read = move || match is_bare {
        true => key::read_new(&source, &env).map(|(credential, _)| credential),
        false => key::read(&source),
    };
    let credential = tokio::task::spawn_blocking(read).await??;
    let domain = export.domain().clone();
    let (changed, described) =
        app.or_cancel(keys::import(&store, export, credential, replace, &app.env)).await??;
    let repo_json = if described { " and repo.json" } else { "" };
    let text = format!("the keys of domain {domain}{repo_json} are back; this credential opens it\n");
    print_changed(app, "import", None, changed, &text)
}

fn read_export(file: &Path) -> Result<zeroize::Zeroizing<String>> {
    use std::io::Read as _;
    let mut text = zeroize::Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).and_then(|f| f.take(EXPORT_BYTES_MAX).read_to_string(&mut text));
    opened.context(ErrorKind::Input, || format!("read {}", file.display()))?;
    Ok(text)
}

/// A key file's public key.
#[derive(Debug, Serialize)]
struct RecipientRecord {
    recipient: String,
}

fn print_recipient(app: &App, credential: &Credential) -> Result<Exit> {
    let key = credential.recipient();
    let key =
        key.ok_or_else(|| Error::new(ErrorKind::Input, "a passphrase has no recipient: pass --key-file"))?;
    let record = RecipientRecord { recipient: key.to_string() };
    output::print(app.format(), &record, |r| format!("{}\n", r.recipient))?;
    Ok(Exit::Done)
}

fn generate(app: &App, file: &Path) -> Result<Exit> {
    let made = Credential::create_key_file(file, &app.env);
    let credential = made.context(ErrorKind::Key, || "create the key file".to_owned())?;
    logs::say(&format!("made the key file {}; whoever adds it needs only this recipient:", file.display()));
    print_recipient(app, &credential)
}

fn recipient(app: &App) -> Result<Exit> {
    print_recipient(app, &key::read(app.key())?)
}

/// `domain add`
#[derive(Debug, Serialize)]
struct DomainRecord {
    domain: String,
}

pub(super) async fn domain(app: &App, command: DomainCommand) -> Result<Exit> {
    match command {
        DomainCommand::List => {
            let store = open_store(app).await?;
            let all = app.or_cancel(domains::list(&*store)).await??;
            let all: Vec<_> = all.iter().map(|d| DomainRecord { domain: d.to_string() }).collect();
            output::print(app.format(), &all, |all| all.iter().map(|d| format!("{}\n", d.domain)).collect())?;
        }
        DomainCommand::Add { name } => {
            let store = app.or_cancel(store::open(url(app)?, None, &app.env)).await??;
            let (source, env) = (app.key().clone(), app.env.clone());
            let (credential, made) =
                tokio::task::spawn_blocking(move || key::read_new(&source, &env)).await??;
            let options = InitOptions { domain: name.clone(), credentials: vec![credential] };
            app.or_cancel(domains::add(&store, options, &app.env)).await??;
            if let Some(path) = made {
                logs::say(&format!(
                    "made the key file {}; without it the backups of this domain can't be read, so keep a copy",
                    path.display()
                ));
            }
            let record = DomainRecord { domain: name.to_string() };
            output::print(app.format(), &record, |r| format!("added domain {}\n", r.domain))?;
        }
    }
    Ok(Exit::Done)
}
