//! What the server says about itself and the session (ParameterStatus).

use crate::wire::limits::Limits;

/// The latest value of each parameter, bounded in number and size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<Parameter>);

type Parameter = (Box<[u8]>, Box<[u8]>);

impl Parameters {
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known.as_ref() == name).map(|(_, value)| value.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Whether text of the client may hold any character.
    pub fn unicode(&self) -> bool {
        self.value(b"client_encoding").is_none_or(|name| name.eq_ignore_ascii_case(b"UTF8"))
    }

    /// Whether a sign of the client's encoding may end with a byte that is a sign of its
    /// own in ASCII, such as `\\`.
    pub fn mixed(&self) -> bool {
        const MIXED: [&[u8]; 7] =
            [b"SJIS", b"SHIFT_JIS_2004", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB"];
        self.value(b"client_encoding")
            .is_some_and(|name| MIXED.iter().any(|one| one.eq_ignore_ascii_case(name)))
    }

    /// What goes beyond the bounds is unknown from then on, never outdated.
    pub(super) fn set(&mut self, limits: &Limits, name: &[u8], value: &[u8]) {
        let fits = name.len().saturating_add(value.len()) <= limits.parameter;
        if !fits {
            self.0.retain(|(known, _)| known.as_ref() != name);
        } else if let Some((_, place)) = self.0.iter_mut().find(|(known, _)| known.as_ref() == name)
        {
            *place = value.into();
        } else if self.0.len() < limits.parameters {
            self.0.push((name.into(), value.into()));
        }
    }
}
