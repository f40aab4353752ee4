//! The build id in a program's file: the note that its linker left.

/// Of a file so much is enough: the notes stand right behind the headers.
pub const HEAD: usize = 64 * 1024;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
const MOST_HEADERS: usize = 64;

/// In hex; nothing for what is no ELF file, or has none in its head.
pub fn build_id(head: &[u8]) -> Option<String> {
    let class = *head.get(4)?;
    // Little endian only: the machines that the agent is built for.
    if head.get(..4)? != b"\x7fELF" || class != 2 || *head.get(5)? != 1 {
        return None;
    }
    let table = usize::try_from(u64_at(head, 0x20)?).ok()?;
    let size = usize::from(u16_at(head, 0x36)?);
    let count = usize::from(u16_at(head, 0x38)?).min(MOST_HEADERS);
    (0..count).find_map(|index| {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if u32_at(head, header)? != PT_NOTE {
            return None;
        }
        let start = usize::try_from(u64_at(head, header.checked_add(8)?)?).ok()?;
        let length = usize::try_from(u64_at(head, header.checked_add(32)?)?).ok()?;
        note(head.get(start..start.checked_add(length)?)?)
    })
}

fn note(mut notes: &[u8]) -> Option<String> {
    loop {
        let name_size = usize::try_from(u32_at(notes, 0)?).ok()?;
        let size = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let name_end = 12_usize.checked_add(name_size)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size)?;
        let content = notes.get(start..end)?;
        if kind == NT_GNU_BUILD_ID
            && notes.get(12..name_end)? == b"GNU\0"
            && (4..=64).contains(&size)
        {
            return Some(hex(content));
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the linker's own tool reads it.
    fn told(file: &str) -> Option<String> {
        let output = std::process::Command::new("readelf").args(["-n", file]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, rest) = text.split_once("Build ID: ")?;
        Some(rest.lines().next()?.trim().to_owned())
    }

    #[test]
    fn a_programs_build_id_is_what_readelf_says() {
        let mut found = 0;
        for file in ["/bin/bash", "/bin/ls", "/usr/bin/env"] {
            let bytes = std::fs::read(file).unwrap();
            let own = build_id(&bytes[..bytes.len().min(HEAD)]);
            if let Some(expected) = told(file) {
                assert_eq!(own, Some(expected), "{file}");
                found += 1;
            }
            for end in 0..200 {
                build_id(&bytes[..end]);
            }
        }
        assert!(found > 0, "readelf tells of none: install binutils");
        assert_eq!(build_id(b"#!/bin/sh\n"), None);
    }
}
