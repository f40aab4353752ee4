//! Both sides of a PostgreSQL session, written by the fuzzer.
//!
//! The input is a row of pieces: a byte for the side and the decision, two for
//! the length, then the bytes. Whatever comes, nothing panics; what goes out is
//! a prefix of what came in, unless something was refused; each request ends
//! once; memory stays within the limits.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::wire;
use wire::limits::Limits;
use wire::postgres::session::{Common, Ending, Refusal};
use wire::postgres::{Backend, Frontend, Side};

#[path = "../../src/wire/postgres/testing.rs"]
#[allow(dead_code, reason = "shared with the unit tests")]
mod testing;

use testing::{Relay, Stage};

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        chunk: 64,
        whole: 128,
        message: 1 << 16,
        statements: 16,
        portals: 16,
        texts: 4096,
        ..Limits::default()
    };
    let limits = Arc::new(limits);
    let mut relay = Relay::new(Common { limits: Arc::clone(&limits), ..Common::default() });
    relay.keep_shown = true;
    let mut sent = [Vec::new(), Vec::new()];
    let mut refused = false;
    let mut rest = data;
    while let [kind, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high & 0x0f, *low])).min(behind.len());
        let (bytes, later) = behind.split_at(length);
        rest = later;
        let side = if kind & 1 == 0 { Side::Client } else { Side::Server };
        let refuse = kind & 6 == 6;
        refused |= refuse;
        relay.describe = kind & 24 == 24;
        refused |= relay.describe;
        relay.decide = Box::new(move |_| {
            refuse.then(|| Refusal {
                record: "r-1".to_owned(),
                message: "no".to_owned(),
                detail: None,
                hint: None,
            })
        });
        if let Some((tag, body)) = bytes.split_first() {
            identity(*tag, body, &limits);
        }
        sent[usize::from(kind & 1)].extend_from_slice(bytes);
        if relay.from(side, bytes).is_err() {
            break;
        }
    }
    if !refused {
        assert!(sent[0].starts_with(&relay.to_server));
        assert!(sent[1].starts_with(&relay.to_client));
    }
    if let Stage::Session(session) = &mut relay.stage {
        assert!(session.text_bytes() <= limits.texts);
        session.close();
        assert_eq!(session.outstanding(), 0);
        relay.ended.extend(session.outcomes().map(|end| (end.serial, end.ending)));
        relay.ended.sort_by_key(|(serial, _)| *serial);
        for (serial, kind) in &relay.decided {
            let ends = relay.ended.iter().filter(|(of, _)| of == serial);
            let count = match *kind {
                "extended" => ends.count(),
                _ => ends
                    .filter(|(_, ending)| {
                        matches!(ending, Ending::Answered | Ending::Skipped | Ending::Lost)
                    })
                    .count(),
            };
            // The last one may have been let through into a full house.
            assert!(count == 1 || relay.decided.last() == Some(&(*serial, kind)));
        }
    }
});

/// What can be read is written back to the same bytes.
fn identity(tag: u8, body: &[u8], limits: &Limits) {
    let mut out = Vec::new();
    if let Ok(message) = Frontend::decode(tag, body, limits)
        && message != Frontend::Terminate
    {
        message.encode(&mut out).unwrap();
        assert_eq!(&out[5..], body);
        if let Frontend::Credential(credential) = message {
            let _ = credential.password();
            let _ = credential.sasl_initial();
        }
    }
    out.clear();
    if let Ok(message) = Backend::decode(tag, body, limits) {
        message.encode(&mut out).unwrap();
        assert_eq!(&out[5..], body);
        match message {
            Backend::RowDescription(columns) => assert_eq!(columns.iter().count(), columns.len()),
            Backend::DataRow(values) => assert_eq!(values.iter().count(), values.len()),
            Backend::ErrorResponse(fields) => {
                fields.iter().count();
            }
            _ => {}
        }
    }
}
