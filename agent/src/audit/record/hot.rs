//! The bytes of the two kinds that nearly all records are of, written without a
//! detour: under the log's lock, for each statement.
//!
//! INVARIANT: they are what postcard makes of the same body; it reads them.

use super::{Head, Intent, Outcome, varint};

impl Head {
    fn write(&self, to: &mut Vec<u8>) {
        varint(self.at, to);
        varint(self.flow, to);
        varint(self.sequence, to);
    }
}

impl Intent {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        self.head.write(to);
        varint(self.serial, to);
        to.push(self.way);
        varint(self.statement, to);
        varint(self.effects.into(), to);
        to.extend([self.verdict, self.flags]);
        varint(self.grounds, to);
        text(self.hold.as_deref(), to);
        text(self.approver.as_deref(), to);
        count(self.parameters.len(), to);
        for parameter in &self.parameters {
            text(parameter.as_deref(), to);
        }
    }
}

impl Outcome {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        self.head.write(to);
        varint(self.intent, to);
        varint(self.index.into(), to);
        to.push(self.ending);
        text(self.sqlstate.as_deref(), to);
        for number in [self.tag, self.rows, self.bytes, self.latency_us] {
            varint(number, to);
        }
        for cells in [&self.masked, &self.seen, &self.would_mask] {
            count(cells.len(), to);
            for (class, cells) in cells {
                varint(*class, to);
                varint(*cells, to);
            }
        }
    }
}

fn text(text: Option<&str>, to: &mut Vec<u8>) {
    to.push(text.is_some().into());
    if let Some(text) = text {
        count(text.len(), to);
        to.extend_from_slice(text.as_bytes());
    }
}

fn count(count: usize, to: &mut Vec<u8>) {
    varint(count as u64, to);
}
