//! A cursor over one message's body. Every step is checked; what it yields is
//! borrowed from the body.

use super::error::Fault;

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, message }
    }

    pub fn fault(&self, what: &'static str) -> Fault {
        Fault::Malformed { message: self.message, what }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.fault("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or_else(|| self.fault("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    /// A string up to its NUL, without it.
    pub fn text(&mut self) -> Result<&'a [u8], Fault> {
        let end = memchr::memchr(0, self.rest).ok_or_else(|| self.fault("a string has no end"))?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Ok(text)
    }

    pub fn name(&mut self, limit: usize) -> Result<&'a [u8], Fault> {
        let name = self.text()?;
        if name.len() > limit {
            return Err(Fault::Limit { what: "a name is too long", limit });
        }
        Ok(name)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// What has been read since `earlier`, a copy of this reader.
    pub fn since(&self, earlier: &Reader<'a>) -> &'a [u8] {
        let length = earlier.rest.len().saturating_sub(self.rest.len());
        earlier.rest.get(..length).unwrap_or_default()
    }

    pub fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault("bytes are left over")) }
    }
}
