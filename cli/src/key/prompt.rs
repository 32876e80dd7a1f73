//! Asks for a passphrase on the terminal, without echo.
//!
//! The terminal is always set back: signals from the keyboard are off during the prompt, Ctrl-C ends the line instead.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};

use anyhow::Result;
use repository::{Error, ErrorKind};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

const CTRL_C: u8 = 3;
/// A terminal gives no longer lines.
const LINE_BYTES_MAX: usize = 4096;

/// Asks, and reads one line. Fails with [`ErrorKind::Key`] where there is no terminal.
pub(super) fn passphrase(question: &str) -> Result<Zeroizing<String>> {
    let no_terminal = |e| {
        let what = "no key given: pass --passphrase-file or --key-file (there is no terminal to ask on)";
        Error::with_source(ErrorKind::Key, what, e)
    };
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let line =
        ask(&tty, question).map_err(|e| Error::with_source(ErrorKind::Key, "ask for the passphrase", e))?;
    if line.as_bytes().contains(&CTRL_C) {
        return Err(Error::new(ErrorKind::Cancelled, "cancelled").into());
    }
    let line = Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned());
    if line.is_empty() {
        return Err(Error::new(ErrorKind::Key, "an empty passphrase is refused").into());
    }
    Ok(line)
}

fn ask(tty: &File, question: &str) -> std::io::Result<Zeroizing<String>> {
    let mut out = tty;
    // In this order: what is typed as soon as the question shows must neither be echoed nor lost.
    let _silence = Silence::new(tty)?;
    out.write_all(question.as_bytes())?;
    let line = read_line(tty);
    out.write_all(b"\n")?;
    line
}

/// One line, or what was typed before Ctrl-C, with it: that is no end of a line to anybody else.
fn read_line(mut tty: &File) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = [0];
    while line.len() < LINE_BYTES_MAX && tty.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if matches!(byte[0], b'\n' | CTRL_C) {
            break;
        }
    }
    let text = std::str::from_utf8(&line).map_err(std::io::Error::other)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// No echo until this is dropped.
struct Silence<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(tty: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(tty, OptionalActions::Flush, &quiet)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}
