//! Writing messages: the length is filled in when the body is complete, and a
//! string that can't stand on the wire is an error, not a mutilated message.

use super::error::Fault;

/// One message under construction at the end of `out`.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    message: &'static str,
    /// Where the message starts, and where its length stands.
    start: usize,
    length_at: usize,
}

impl<'o> Writer<'o> {
    pub fn tagged(out: &'o mut Vec<u8>, message: &'static str, tag: u8) -> Self {
        let start = out.len();
        out.push(tag);
        out.extend_from_slice(&[0; 4]);
        Self { out, message, start, length_at: start + 1 }
    }

    /// The packets before a session have a length and no type.
    pub fn untagged(out: &'o mut Vec<u8>, message: &'static str) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Self { out, message, start, length_at: start }
    }

    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub fn text(&mut self, text: &[u8]) -> Result<&mut Self, Fault> {
        if text.contains(&0) {
            return Err(self.give_up("a string holds a NUL"));
        }
        Ok(self.bytes(text).u8(0))
    }

    pub fn finish(self) -> Result<(), Fault> {
        let length = self.out.len().saturating_sub(self.length_at);
        let (Ok(length), Some(place)) =
            (i32::try_from(length), self.out.get_mut(self.length_at..self.length_at + 4))
        else {
            self.out.truncate(self.start);
            return Err(Fault::Unencodable { message: self.message, what: "it is too long" });
        };
        place.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Nothing of the message stays in `out`.
    fn give_up(&mut self, what: &'static str) -> Fault {
        self.out.truncate(self.start);
        Fault::Unencodable { message: self.message, what }
    }
}
