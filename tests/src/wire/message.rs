//! What a frontend says, message by message.

/// `3.0`.
pub const PROTOCOL: u32 = 3 << 16;
pub const CANCEL: u32 = 80_877_102;
pub const TLS: u32 = 80_877_103;
pub const GSS: u32 = 80_877_104;

/// A message of the phase before the types.
pub fn untyped(code: u32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = ((rest.len() + 8) as u32).to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(rest);
    bytes
}

pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (name, value) in parameters {
        text(&mut rest, name);
        text(&mut rest, value);
    }
    rest.push(0);
    untyped(version, &rest)
}

pub fn cancel(pid: u32, key: &[u8]) -> Vec<u8> {
    untyped(CANCEL, &[&pid.to_be_bytes(), key].concat())
}

/// A message with its type and length.
pub fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(kind);
    bytes.extend(((body.len() + 4) as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend(text.as_bytes());
    into.push(0);
}

fn zero_ended(kind: u8, words: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for word in words {
        text(&mut body, word);
    }
    typed(kind, &body)
}

pub fn query(sql: &str) -> Vec<u8> {
    zero_ended(b'Q', &[sql])
}

pub fn password(word: &str) -> Vec<u8> {
    zero_ended(b'p', &[word])
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, name);
    text(&mut body, sql);
    body.extend((types.len() as u16).to_be_bytes());
    for oid in types {
        body.extend(oid.to_be_bytes());
    }
    typed(b'P', &body)
}

pub const TEXT: u16 = 0;
pub const BINARY: u16 = 1;

/// `None` is NULL. All parameters are of one format, all columns of another.
pub fn bind(
    portal: &str,
    statement: &str,
    format: u16,
    values: &[Option<&[u8]>],
    results: u16,
) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, portal);
    text(&mut body, statement);
    body.extend(1_u16.to_be_bytes());
    body.extend(format.to_be_bytes());
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Some(bytes) => {
                body.extend((bytes.len() as u32).to_be_bytes());
                body.extend(*bytes);
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend(1_u16.to_be_bytes());
    body.extend(results.to_be_bytes());
    typed(b'B', &body)
}

/// `S`tatement or `P`ortal.
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    text(&mut body, name);
    typed(b'D', &body)
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    text(&mut body, name);
    typed(b'C', &body)
}

/// At most so many rows; 0 is all.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, portal);
    body.extend(rows.to_be_bytes());
    typed(b'E', &body)
}

pub fn sync() -> Vec<u8> {
    typed(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    typed(b'H', &[])
}

pub fn terminate() -> Vec<u8> {
    typed(b'X', &[])
}

pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
    typed(b'd', bytes)
}

pub fn copy_done() -> Vec<u8> {
    typed(b'c', &[])
}

pub fn copy_fail(why: &str) -> Vec<u8> {
    zero_ended(b'f', &[why])
}

/// The fast-path call of a function, all in binary.
pub fn function_call(oid: u32, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend(1_u16.to_be_bytes());
    body.extend(BINARY.to_be_bytes());
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Some(bytes) => {
                body.extend((bytes.len() as u32).to_be_bytes());
                body.extend(*bytes);
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend(BINARY.to_be_bytes());
    typed(b'F', &body)
}

/// Parse, bind, describe, execute of the unnamed, without a Sync.
pub fn once(sql: &str, values: &[Option<&[u8]>], results: u16) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", TEXT, values, results), describe(b'P', ""), execute("", 0)]
        .concat()
}
