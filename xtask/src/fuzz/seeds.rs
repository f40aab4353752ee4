//! `tests/corpora` in the forms that the fuzz targets take.
//!
//! INVARIANT: the same corpora give the same seeds. What a target has no seeds for
//! begins with nothing, and finds its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml_edit::DocumentMut;

use crate::workspace;

/// Writes a target's seeds anew, and says how many.
pub fn write(target: &str, folder: &Path) -> Result<usize> {
    let seeds = match target {
        "wire_postgres" => sessions()?.iter().map(pieces).collect(),
        "login" => logins(&sessions()?),
        "sql" => {
            tricks()?.iter().enumerate().flat_map(|(number, one)| texts(number, one)).collect()
        }
        "mask" => answers(&cells()?, &sessions()?),
        "audit" => tricks()?.into_iter().map(|(how, text)| [&[5, how], &*text].concat()).collect(),
        _ => Vec::new(),
    };
    if folder.is_dir() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot clear `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    for (number, seed) in seeds.iter().enumerate() {
        let file = folder.join(format!("{number:05}"));
        fs::write(&file, seed).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(seeds.len())
}

/// A recorded session: who spoke (the client is 0, the server 1), and what.
type Session = Vec<(u8, Vec<u8>)>;

fn sessions() -> Result<Vec<Session>> {
    let texts = files("tests/corpora/wire_postgres", "session")?;
    Ok(texts.iter().map(|text| text.lines().filter_map(line).collect()).collect())
}

fn line(line: &str) -> Option<(u8, Vec<u8>)> {
    let (side, escaped) = line.split_once(' ')?;
    let side = match side {
        "C" => 0,
        "S" => 1,
        _ => return None,
    };
    Some((side, unescaped(escaped)?))
}

/// `\xNN` and `\\`; everything else stands for itself.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut signs = text.bytes();
    while let Some(sign) = signs.next() {
        bytes.push(match (sign, sign == b'\\') {
            (sign, false) => sign,
            _ => match signs.next()? {
                b'x' => {
                    let digits = [signs.next()?, signs.next()?];
                    u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
                }
                sign => sign,
            },
        });
    }
    Some(bytes)
}

/// A byte for the side, two for the length, then the bytes.
fn pieces(session: &Session) -> Vec<u8> {
    const MOST: usize = 0x0fff;
    let mut seed = Vec::new();
    for (side, bytes) in session {
        for piece in bytes.chunks(MOST) {
            seed.push(*side);
            // Below MOST.
            seed.extend((piece.len() as u16).to_be_bytes());
            seed.extend_from_slice(piece);
        }
    }
    seed
}

/// Each way of logging in, played by those who know it; and the recorded ones.
fn logins(sessions: &[Session]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for legs in [0, 2, 3, 15] {
        for mode in 0..4 {
            for known in [0, 4, 5, 8 | 64] {
                for asks in 0..8 {
                    let set = [legs, mode, known, asks << 2 | 2];
                    seeds.push([&set[..], &[1, 0, 1, 0, 1, 0, 1, 0]].concat());
                }
            }
        }
    }
    for session in sessions {
        let mut seed = vec![3, 0, 0, 0];
        // The startup packet is the scene's own.
        for (side, bytes) in session.iter().skip(1).take(8) {
            let piece = bytes.get(..bytes.len().min(255)).unwrap_or_default();
            seed.extend([side | 4, piece.len() as u8]);
            seed.extend_from_slice(piece);
        }
        seeds.push(seed);
    }
    seeds
}

/// The texts of the evasion corpus, each with how a session reads its strings.
fn tricks() -> Result<Vec<(u8, Vec<u8>)>> {
    let mut all = Vec::new();
    for text in files("tests/corpora/evasion", "toml")? {
        let document: DocumentMut = text.parse().context("the evasion corpus isn't TOML")?;
        let cases = document.get("case").and_then(|case| case.as_array_of_tables());
        for case in cases.into_iter().flatten() {
            let text = |key: &str| case.get(key).and_then(|item| item.as_str());
            let how = match text("strings") {
                Some("escaping") => 2,
                Some(_) => 3,
                None => 0,
            };
            all.extend(text("sql").map(|sql| (how, sql.as_bytes().to_vec())));
        }
    }
    Ok(all)
}

fn texts(number: usize, (how, text): &(u8, Vec<u8>)) -> [Vec<u8>; 2] {
    let [high, low] = (number as u16).to_be_bytes();
    let disguise: Vec<u8> = (0_u8..40).map(|place| (place * 5).wrapping_add(low)).collect();
    [[&[how << 1], &**text].concat(), [&[1, high, low], &*disguise].concat()]
}

/// Cells as a server sends them, one a line.
fn cells() -> Result<Vec<Vec<u8>>> {
    let texts = files("tests/corpora/mask", "cells")?;
    let lines = texts.iter().flat_map(|text| text.lines());
    Ok(lines.filter(|line| !line.starts_with('#')).filter_map(unescaped).collect())
}

fn answers(cells: &[Vec<u8>], sessions: &[Session]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        // More types than there are; scanned, and masked as something.
        for form in 0..51 {
            let treatment: &[u8] = if (number + form as usize).is_multiple_of(2) {
                &[1]
            } else {
                &[4, number as u8, 2 + form % 4]
            };
            let column = [&[0, 0, form, 0], treatment, &[0, cell.len() as u8]].concat();
            seeds.push([&column, &**cell].concat());
        }
        for style in 0..8 {
            seeds.push([&[1, style, 3], &**cell, b"\t", cell, b"\n", cell, b"\n"].concat());
        }
        // One column of text, scanned; nothing before and nothing behind.
        seeds.push([&[3, 7, 0, 1, 0, 0, 0], &**cell].concat());
    }
    // Errors and notices without their heads.
    let said = sessions.iter().flatten().filter(|(side, _)| *side == 1);
    let errors = said.filter(|(_, bytes)| matches!(bytes.first(), Some(b'E' | b'N')));
    seeds.extend(errors.filter_map(|(_, bytes)| Some([&[2], bytes.get(5..)?].concat())));
    seeds
}

/// The texts of a folder's files with this extension, in order.
fn files(folder: &str, extension: &str) -> Result<Vec<String>> {
    let folder = workspace::root().join(folder);
    let cannot = || format!("cannot read `{}`", folder.display());
    let entries = fs::read_dir(&folder).with_context(cannot)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(cannot)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).with_context(cannot)).collect()
}
