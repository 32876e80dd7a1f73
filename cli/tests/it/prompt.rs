//! The passphrase prompt on a terminal: asked for, never echoed, and given up with Ctrl-C.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::data::tree;
use crate::process::PATIENCE;

/// A terminal with a program on it, and a person in front of it.
struct Terminal {
    ours: File,
    child: Child,
    pieces: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start(home: &std::path::Path, words: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let io = || Stdio::from(theirs.try_clone().unwrap());
        // A session of its own, whose terminal this is.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_holdfast")]).args(words);
        command.current_dir(home).env_clear().env("HOME", home).env("TERM", "xterm");
        let child = command.stdin(io()).stdout(io()).stderr(io()).spawn().unwrap();
        let ours = File::from(ours);
        let mut reader = ours.try_clone().unwrap();
        let (sender, pieces) = sync_channel(1000);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal's end shows as an error once nobody has it open.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { ours, child, pieces, shown: String::new() }
    }

    /// Waits until the terminal shows this, after what was waited for before; then types.
    #[track_caller]
    fn at(&mut self, text: &str, typed: &str) {
        let from = self.shown.len();
        while !self.shown[from..].contains(text) {
            let piece = self.pieces.recv_timeout(PATIENCE);
            let piece = piece.unwrap_or_else(|e| panic!("{text:?} is not shown ({e}): {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        self.ours.write_all(typed.as_bytes()).unwrap();
    }

    /// The exit code, and all that was shown.
    fn ends(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        while let Ok(piece) = self.pieces.recv_timeout(std::time::Duration::from_millis(300)) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        (status.code(), self.shown)
    }
}

#[test]
fn a_passphrase_is_asked_for_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    tree(&home.path().join("data"), 1000, 1);
    let repo = format!("file://{}", home.path().join("repo").display());
    let start = |words: &[&str]| Terminal::start(home.path(), &[words, &["--repo", &repo]].concat());

    let mut init = start(&["init"]);
    init.at("new passphrase: ", "correct horse\n");
    init.at("once more: ", "another horse\n");
    let (code, shown) = init.ends();
    assert!(code == Some(4) && shown.contains("the two passphrases differ"), "{code:?} {shown}");
    assert!(!shown.contains("horse"), "{shown}");

    let mut init = start(&["init"]);
    init.at("new passphrase: ", "correct horse\n");
    init.at("once more: ", "correct horse\n");
    let (code, shown) = init.ends();
    assert!(code == Some(0) && shown.contains("created repository"), "{code:?} {shown}");
    assert!(!shown.contains("horse"), "{shown}");

    let mut backup = start(&["backup", "data"]);
    backup.at("passphrase: ", "correct horse\n");
    let (code, shown) = backup.ends();
    assert!(code == Some(0) && shown.contains("snapshot ") && !shown.contains("horse"), "{code:?} {shown}");

    let mut wrong = start(&["snapshots"]);
    wrong.at("passphrase: ", "wrong horse\n");
    let (code, shown) = wrong.ends();
    assert!(code == Some(4) && shown.contains("wrong passphrase"), "{code:?} {shown}");

    let mut empty = start(&["snapshots"]);
    empty.at("passphrase: ", "\n");
    let (code, shown) = empty.ends();
    assert!(code == Some(4) && shown.contains("an empty passphrase is refused"), "{code:?} {shown}");

    let mut given_up = start(&["snapshots"]);
    given_up.at("passphrase: ", "half\u{3}");
    let (code, shown) = given_up.ends();
    assert!(code == Some(130) && !shown.contains("half"), "{code:?} {shown}");
}
