//! A folder's whole content as values that can be compared: names, types, owners, modes, times, links, extended attributes, bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use cluster::run;

/// What a path is, as one line; equal lines are equal entries.
pub(crate) type Tree = BTreeMap<String, String>;

/// Reads a folder, itself included. `lost+found` of its root is not a user's.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Tree> {
    let (mut out, mut first_names) = (Tree::new(), BTreeMap::new());
    add(folder, "", &mut out, &mut first_names)?;
    let dump = ["-R", "-h", "-d", "-m", "-", "-e", "hex", "."];
    let attributes = run(Command::new("getfattr").args(dump).current_dir(folder), None)?;
    for block in attributes.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let name = block.lines().find_map(|l| l.strip_prefix("# file: ")).unwrap_or_default();
        let values: Vec<&str> = block.lines().filter(|l| !l.starts_with('#')).collect();
        if let Some(line) = out.get_mut(name.trim_start_matches("./").trim_matches('.')) {
            line.push_str(&format!(" {}", values.join(" ")));
        }
    }
    Ok(out)
}

fn add(
    path: &Path,
    name: &str,
    out: &mut Tree,
    first_names: &mut BTreeMap<u64, String>,
) -> anyhow::Result<()> {
    let data = fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
    let kind = data.file_type();
    let what = if kind.is_dir() {
        "folder".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path)?.display())
    } else if kind.is_file() {
        format!("file of {} bytes, {}", data.len(), image::sha256(&fs::read(path)?))
    } else if kind.is_fifo() {
        "pipe".to_owned()
    } else {
        format!("special {:o} {:x}", data.mode(), data.rdev())
    };
    let same = match first_names.get(&data.ino()) {
        Some(first) if !kind.is_dir() => format!(" = {first}"),
        _ => String::new(),
    };
    first_names.entry(data.ino()).or_insert_with(|| name.to_owned());
    let owner = format!("{}:{} {:o}", data.uid(), data.gid(), data.permissions().mode() & 0o7777);
    let time = format!("{}.{:09}", data.mtime(), data.mtime_nsec());
    out.insert(name.to_owned(), format!("{what} {owner} {time}{same}"));
    if kind.is_dir() {
        let mut inner: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        inner.sort_by_key(fs::DirEntry::file_name);
        for entry in inner {
            let text = entry.file_name().to_string_lossy().into_owned();
            if name.is_empty() && text == "lost+found" {
                continue;
            }
            let below = if name.is_empty() { text } else { format!("{name}/{text}") };
            add(&entry.path(), &below, out, first_names)?;
        }
    }
    Ok(())
}

/// Fails with the first differences.
pub(crate) fn same(what: &str, expected: &Tree, found: &Tree) -> anyhow::Result<()> {
    let names = expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let differences: Vec<String> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| {
            let of = |tree: &Tree| tree.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
            format!("{name:?}: expected {}, found {}", of(expected), of(found))
        })
        .collect();
    let few = differences.iter().take(8).cloned().collect::<Vec<_>>().join("\n      ");
    ensure!(differences.is_empty(), "{what}: {} entries differ:\n      {few}", differences.len());
    Ok(())
}

/// Fills a folder with one of everything that a volume may hold. `seed` makes contents differ.
pub(crate) fn plant(folder: &Path, seed: u8) -> anyhow::Result<()> {
    let bytes = |len: usize| -> Vec<u8> {
        let mut state = u32::from(seed) + 1;
        let mut step = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| step()).collect()
    };
    fs::create_dir_all(folder.join("deep/er/and deeper"))?;
    fs::write(folder.join("deep/er/and deeper/small"), bytes(10))?;
    fs::write(folder.join("large"), bytes(3 << 20))?;
    fs::write(folder.join("empty"), b"")?;
    fs::write(folder.join("ünïcode\nname"), bytes(100))?;
    fs::write(folder.join("secret"), bytes(33))?;
    fs::set_permissions(folder.join("secret"), fs::Permissions::from_mode(0o600))?;
    fs::hard_link(folder.join("large"), folder.join("deep/same as large"))?;
    symlink("../nowhere", folder.join("deep/dangling"))?;
    let sparse = fs::File::create(folder.join("sparse"))?;
    sparse.set_len(64 << 20)?;
    for index in 0..200 {
        fs::write(folder.join(format!("deep/file-{index}")), bytes(index * 37))?;
    }
    let script = "mkfifo pipe; chown 1234:5678 secret empty; chmod 4755 empty; touch -d '2001-02-03 04:05:06.123456789' secret; \
                  setfattr -n user.colour -v blue large; setfacl -m u:4321:r secret";
    run(Command::new("sh").args(["-ec", script]).current_dir(folder), None).map(drop)
}
