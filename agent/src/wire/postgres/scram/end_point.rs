//! The channel binding `tls-server-end-point` (RFC 5929): a hash of the server's
//! certificate, by the hash function of its signature.

use aws_lc_rs::digest;

/// A certificate's hash, as both ends of a TLS session know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndPoint(Box<[u8]>);

impl EndPoint {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn for_test(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// The hash of a certificate (DER). `None` where its signature has no hash
/// function of its own (Ed25519), or none that is known: there is nothing to
/// bind to then.
pub fn end_point_hash(certificate: &[u8]) -> Option<EndPoint> {
    let algorithm = signature_hash(certificate)?;
    Some(EndPoint(digest::digest(algorithm, certificate).as_ref().into()))
}

fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(outer, SEQUENCE)?;
    let (identifier, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(identifier, OID)?;
    match oid {
        // RSASSA-PSS: the hash is among its parameters, and SHA-1 if it isn't.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => pss_hash(parameters),
        // MD2, MD5 and SHA-1 are never used.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2 | 4 | 5] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => Some(&digest::SHA512),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14] => Some(&digest::SHA224),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 16] => Some(&digest::SHA512_256),
        // ECDSA with SHA-1.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1] => Some(&digest::SHA224),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => Some(&digest::SHA512),
        _ => None,
    }
}

fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let (fields, _) = element(parameters, SEQUENCE)?;
    let Some((field, _)) = element(fields, CONTEXT_0) else { return Some(&digest::SHA256) };
    let (identifier, _) = element(field, SEQUENCE)?;
    let (oid, _) = element(identifier, OID)?;
    match oid {
        // SHA-1.
        [0x2b, 0x0e, 3, 2, 26] => Some(&digest::SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(&digest::SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(&digest::SHA384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(&digest::SHA512),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4] => Some(&digest::SHA224),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 6] => Some(&digest::SHA512_256),
        _ => None,
    }
}

/// The content of a DER element of this type, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;
