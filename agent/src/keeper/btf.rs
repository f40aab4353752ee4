//! Where the kernel keeps a few fields, read from its own type information.
//!
//! Only what the programs' `task` part needs: the offset of a named member of
//! a named structure, anonymous structures looked through.

use std::path::Path;

/// The kernel's types, as /sys/kernel/btf/vmlinux has them.
#[derive(Debug)]
pub struct Types {
    bytes: Vec<u8>,
    /// Where each type starts; type ids count from 1.
    starts: Vec<usize>,
    strings: usize,
}

const HEADER: usize = 24;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

impl Types {
    pub fn of_this_kernel() -> Option<Self> {
        Self::parse(std::fs::read(Path::new("/sys/kernel/btf/vmlinux")).ok()?)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at: usize| read_word(&bytes, at);
        if word(0)? & 0xffff != 0xeb9f {
            return None;
        }
        let header = usize::try_from(word(4)?).ok()?;
        let at = |offset: u32| Some(header + usize::try_from(offset).ok()?);
        let (first, length, strings) =
            (at(word(8)?)?, usize::try_from(word(12)?).ok()?, at(word(16)?)?);
        if header < HEADER {
            return None;
        }
        let mut starts = Vec::new();
        let mut position = first;
        while position < first + length {
            starts.push(position);
            let info = word(position + 4)?;
            let count = usize::try_from(info & 0xffff).ok()?;
            position += 12
                + match info >> 24 & 0x1f {
                    1 | 14 | 17 => 4,              // integer, variable, declaration tag
                    3 => 12,                       // array
                    4 | 5 | 15 | 19 => count * 12, // structure, union, section, 64-bit enum
                    6 | 13 => count * 8,           // enum, function prototype
                    _ => 0,
                };
        }
        Some(Self { bytes, starts, strings })
    }

    /// The byte offset of `member` in `structure`.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let start = self.starts.iter().copied().find(|start| {
            self.kind(*start) == Some(KIND_STRUCT)
                && self.name_at(*start) == Some(structure.as_bytes())
        })?;
        self.member(start, member, 8).map(|bits| bits / 8)
    }

    fn member(&self, start: usize, wanted: &str, depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        let info = self.word(start + 4)?;
        let bitfields = info >> 31 == 1;
        for index in 0..usize::try_from(info & 0xffff).ok()? {
            let at = start + 12 + index * 12;
            let bits = self.word(at + 8)?;
            let bits = if bitfields { bits & 0x00ff_ffff } else { bits };
            let name = self.name_at(at)?;
            if name == wanted.as_bytes() {
                return Some(bits);
            }
            if name.is_empty() {
                let inner = usize::try_from(self.word(at + 4)?).ok()?.checked_sub(1)?;
                let inner = *self.starts.get(inner)?;
                if matches!(self.kind(inner), Some(KIND_STRUCT | KIND_UNION))
                    && let Some(found) = self.member(inner, wanted, depth)
                {
                    return Some(bits + found);
                }
            }
        }
        None
    }

    fn kind(&self, start: usize) -> Option<u32> {
        Some(self.word(start + 4)? >> 24 & 0x1f)
    }

    /// The name that the word at `at` points to.
    fn name_at(&self, at: usize) -> Option<&[u8]> {
        let from = self.strings + usize::try_from(self.word(at)?).ok()?;
        let rest = self.bytes.get(from..)?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    }

    fn word(&self, at: usize) -> Option<u32> {
        read_word(&self.bytes, at)
    }
}

fn read_word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
