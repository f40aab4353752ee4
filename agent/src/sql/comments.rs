//! What stands between two tokens of a text: white space and comments.

/// A piece of such a gap, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between<'t> {
    Blank(&'t str),
    /// What stands behind `--`, without the line's end.
    Line(&'t str),
    /// What stands in `/* … */`, which may hold others.
    Block(&'t str),
}

/// The pieces of a gap, in order. Ends where something else stands.
#[derive(Clone, Debug)]
pub struct Gap<'t>(pub &'t str);

impl<'t> Iterator for Gap<'t> {
    type Item = Between<'t>;

    fn next(&mut self) -> Option<Between<'t>> {
        let Self(rest) = self;
        let (piece, length) = match rest.get(..2) {
            Some("--") => {
                let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
                (Between::Line(rest.get(2..end)?), end)
            }
            Some("/*") => {
                let end = block(rest)?;
                (Between::Block(rest.get(2..end - 2)?), end)
            }
            _ => {
                let end = rest.find(|sign: char| !sign.is_whitespace()).unwrap_or(rest.len());
                (Between::Blank(rest.get(..end).filter(|blank| !blank.is_empty())?), end)
            }
        };
        *rest = rest.get(length..)?;
        Some(piece)
    }
}

/// Where a comment ends that may hold others.
fn block(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_cut_into_what_it_is_made_of() {
        let text = " -- a /* b\n/*c/*d*/*/--e";
        let found: Vec<_> = Gap(text).collect();
        assert_eq!(
            found,
            [
                Between::Blank(" "),
                Between::Line(" a /* b"),
                Between::Blank("\n"),
                Between::Block("c/*d*/"),
                Between::Line("e"),
            ]
        );
        for other in ["x", "/* never closed", "/*/"] {
            assert_eq!(Gap(other).next(), None, "{other}");
        }
    }
}
