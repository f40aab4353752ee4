//! Where a password comes from: a file, stdin, or a terminal without echo.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use crate::wire::postgres::scram::Password;

/// The first line of the file, or what somebody types.
pub fn of(file: Option<&Path>, role: &str, at: &str) -> Result<Password, Failure> {
    let line = match file {
        Some(path) => {
            let text = Zeroizing::new(text_of(path)?);
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        }
        None => typed(&format!("Password of {role} at {at}: "))?,
    };
    if line.is_empty() {
        return Err(Failure::text(Exit::Usage, "the password is empty"));
    }
    Ok(Password::new(line.as_bytes().to_vec()))
}

/// A whole file, or stdin.
pub fn text_of(path: &Path) -> Result<String, Failure> {
    let cannot =
        |error| Failure::text(Exit::Usage, format!("cannot read `{}`: {error}", path.display()));
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MOST).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text))
    };
    read.map_err(cannot)?;
    Ok(text)
}

fn typed(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let cannot = |error: std::io::Error| {
        let text = format!("there is no terminal to ask at ({error}): use `--password-file`");
        Failure::text(Exit::Usage, text)
    };
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(cannot)?;
    let quiet = Quiet::new(&terminal).map_err(cannot)?;
    let mut out = &terminal;
    out.write_all(prompt.as_bytes()).map_err(cannot)?;
    // A terminal gives a line at a time.
    let mut typed = Zeroizing::new([0; LONGEST_LINE]);
    let length = (&terminal).read(&mut *typed).map_err(cannot)?;
    drop(quiet);
    out.write_all(b"\n").map_err(cannot)?;
    let line = typed.get(..length).unwrap_or_default();
    if line.ends_with(&[INTERRUPT]) {
        return Err(Failure::text(Exit::Failed, "interrupted"));
    }
    let line = str::from_utf8(line)
        .map_err(|_| Failure::text(Exit::Usage, "the password is not in UTF-8"))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A terminal that doesn't show what is typed, for as long as this lives.
///
/// INVARIANT: nobody who types can end the process meanwhile, which would leave the terminal
/// like that: an interrupt ends the line.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn new(terminal: &'t File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

const MOST: u64 = 8 << 20;
/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// What the kernel takes as one line.
const LONGEST_LINE: usize = 4096;
