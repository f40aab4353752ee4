//! The attributes of a SCRAM message: `r=…,s=…,i=…`.

/// What is left of a message.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next attribute, whichever it is.
    pub fn any(&mut self) -> Result<(u8, &'a [u8]), &'static str> {
        let (&name, rest) = self.rest.split_first().ok_or("an attribute is missing at its end")?;
        if !name.is_ascii_alphabetic() {
            return Err("an attribute's name isn't a letter");
        }
        let rest = rest.strip_prefix(b"=").ok_or("an attribute has no `=`")?;
        let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
        let value = rest.get(..end).unwrap_or_default();
        self.rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
        Ok((name, value))
    }

    /// The next attribute, which must be this one.
    pub fn expect(&mut self, name: u8) -> Result<&'a [u8], &'static str> {
        if self.rest.first() == Some(&b'm') {
            return Err("it requires an extension that isn't known");
        }
        match self.any()? {
            (found, value) if found == name => Ok(value),
            _ => Err("an attribute is missing, or in the wrong place"),
        }
    }
}

/// A nonce is printable and holds no comma.
pub(super) fn printable(nonce: &[u8]) -> bool {
    !nonce.is_empty() && nonce.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}
