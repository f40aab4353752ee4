//! Every length, depth and count that a peer chooses is held against this.
//!
//! The defaults are those of a PostgreSQL server where it has one: tidegate
//! must not refuse what the server would have taken.

/// The bounds of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One message with data in it: what the server can allocate at most.
    pub message: usize,
    /// One client message that carries no data (Close, Describe, Execute …).
    pub control: usize,
    /// One password, SASL or GSS message.
    pub credential: usize,
    /// One packet before the session starts; its length isn't counted.
    pub opening: usize,
    /// A message longer than this goes through in pieces, where nobody needs
    /// to see it whole.
    pub whole: usize,
    /// How much a framer makes room for at a time.
    pub chunk: usize,
    /// Parameters of a Bind, arguments of a FunctionCall, columns of a row.
    pub values: usize,
    /// Fields of an error or notice.
    pub fields: usize,
    /// The longest name of a statement, portal or server parameter.
    pub name: usize,
    /// Prepared statements of a session that are known at a time.
    pub statements: usize,
    /// Portals of a session that are known at a time.
    pub portals: usize,
    /// Bytes of statement text that a session keeps; a text beyond it is
    /// forgotten, never cut.
    pub texts: usize,
    /// Requests that wait for their answers. At this depth the client isn't
    /// read any further. Never below [`Limits::LEAST_PIPELINE`].
    pub pipeline: usize,
    /// Server parameters (ParameterStatus) that are kept, and the bytes of one.
    pub parameters: usize,
    pub parameter: usize,
    /// Rounds of a password's hashing that a server may ask for (SCRAM): a few
    /// seconds of one core.
    pub iterations: u32,
}

impl Limits {
    /// The smallest answer has 5 bytes and a server sends its buffer of 8 KiB
    /// when it is full: with fewer requests in flight than that, a client that
    /// pipelines without Sync would wait for ever.
    pub const LEAST_PIPELINE: usize = 4096;

    /// The depth at which the client isn't read any further.
    pub fn pipeline_depth(&self) -> usize {
        self.pipeline.max(Self::LEAST_PIPELINE)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 0x3fff_ffff,
            control: 10_000,
            credential: 66_000,
            opening: 10_000,
            whole: 64 * 1024,
            chunk: 16 * 1024,
            values: 65_535,
            fields: 64,
            name: 10_000,
            statements: 65_536,
            portals: 65_536,
            texts: 64 * 1024 * 1024,
            pipeline: 16_384,
            parameters: 256,
            parameter: 8 * 1024,
            iterations: 10_000_000,
        }
    }
}

#[cfg(test)]
mod tests;
