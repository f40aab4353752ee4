//! Keys by their makers' forms, tokens, password hashes, private keys, and the
//! values that stand behind a word like `password`.

use super::{Found, before, edge};
use crate::mask::class::Class;

/// What a key begins with, and how long it is at least.
const KEYS: &[(&[u8], usize)] = &[
    // Clouds.
    (b"AKIA", 20),
    (b"ASIA", 20),
    (b"ABIA", 20),
    (b"ACCA", 20),
    (b"AIza", 39),
    (b"ya29.", 30),
    (b"GOCSPX-", 30),
    (b"dop_v1_", 60),
    (b"doo_v1_", 60),
    (b"hcp_", 30),
    (b"hvs.", 24),
    (b"hvb.", 24),
    (b"dapi", 36),
    (b"LTAI", 20),
    (b"dckr_pat_", 30),
    (b"fo1_", 30),
    (b"FlyV1", 30),
    (b"nfp_", 36),
    (b"pscale_", 30),
    (b"AGE-SECRET-KEY-1", 60),
    // Code and packages.
    (b"ghp_", 40),
    (b"gho_", 40),
    (b"ghu_", 40),
    (b"ghs_", 40),
    (b"ghr_", 40),
    (b"github_pat_", 40),
    (b"glpat-", 26),
    (b"glptt-", 26),
    (b"gldt-", 20),
    (b"glrt-", 20),
    (b"npm_", 40),
    (b"pypi-", 40),
    (b"rubygems_", 50),
    (b"cio", 48),
    (b"ATATT3", 50),
    (b"ATCTT3", 50),
    (b"lin_api_", 40),
    (b"PMAK-", 40),
    (b"sgp_", 40),
    // Models.
    (b"sk-ant-", 40),
    (b"sk-proj-", 40),
    (b"sk-svcacct-", 40),
    (b"sk-or-v1-", 40),
    (b"sk-", 40),
    (b"hf_", 34),
    (b"r8_", 38),
    (b"gsk_", 40),
    (b"xai-", 60),
    (b"pplx-", 40),
    // Payment.
    (b"sk_live_", 24),
    (b"sk_test_", 24),
    (b"rk_live_", 24),
    (b"rk_test_", 24),
    (b"whsec_", 30),
    (b"sq0atp-", 28),
    (b"sq0csp-", 40),
    (b"EAAA", 60),
    (b"rzp_live_", 20),
    (b"rzp_test_", 20),
    (b"access_token$production$", 50),
    (b"shpat_", 36),
    (b"shpss_", 36),
    (b"shpca_", 36),
    (b"shppa_", 36),
    // Talk, mail and watching.
    (b"xoxb-", 24),
    (b"xoxp-", 24),
    (b"xoxa-", 24),
    (b"xoxr-", 24),
    (b"xoxs-", 24),
    (b"xoxe.", 24),
    (b"xapp-", 24),
    (b"SG.", 60),
    (b"key-", 36),
    (b"SK", 34),
    (b"EAAC", 60),
    (b"NRAK-", 32),
    (b"NRJS-", 20),
    (b"glsa_", 40),
    (b"glc_", 40),
    (b"sntrys_", 40),
    (b"sntryu_", 40),
    (b"phc_", 40),
    (b"dp.pt.", 40),
    (b"ddp_", 36),
    (b"secret_", 40),
    (b"ntn_", 40),
    (b"figd_", 40),
    (b"tskey-", 30),
    (b"AAAA", 140),
];

/// The least length of a word of key signs that may be a secret.
pub(super) const LEAST: u32 = 16;

const KEY_FILE: &[u8] = b"PuTTY-User-Key-File";

/// Whether a word of key signs without `_`, `-` and `.` in it may be one, by its
/// first two signs and what stands before it.
#[inline]
pub(super) fn may_begin(cell: &[u8], start: usize) -> bool {
    let head = cell.get(start..).and_then(|rest| rest.first_chunk());
    matches!(before(cell, start), Some(b'%' | b'=' | b'\\'))
        || head.is_some_and(|head| is_head(head) || matches!(head, b"ey" | b"md"))
}

/// The key, token or key file that a word of key signs is.
pub(super) fn word(cell: &[u8], start: usize, end: usize, found: &mut Vec<Found>) {
    let word = cell.get(start..end).unwrap_or_default();
    // The point that ends a sentence.
    let points = word.iter().rev().take_while(|sign| **sign == b'.').count();
    let (word, end) = (word.get(..word.len() - points).unwrap_or_default(), end - points);
    let escape = edge::escape(cell, start);
    let behind = word.get(escape..).filter(|_| escape > 0);
    let token = token(word).or_else(|| token(behind?).map(|(from, class)| (from + escape, class)));
    if let Some((from, class)) = token {
        // Keys of some makers go on with signs of base 64.
        let more = cell.get(end..).unwrap_or_default();
        let more = more.iter().take_while(|sign| matches!(sign, b'=' | b'+' | b'/'));
        let end = end + if class == Class::ApiKey { more.count() } else { 0 };
        found.push(Found { start: start + from, end, class });
    }
    if word.len() >= KEY_FILE.len()
        && has(word, |sign| *sign == b'P')
        && let Some(place) = find(word, KEY_FILE)
    {
        found.push(Found { start: start + place, end: cell.len(), class: Class::PrivateKey });
    }
}

/// Where in a word of key signs a key begins.
fn token(word: &[u8]) -> Option<(usize, Class)> {
    if word.starts_with(b"eyJ") && is_jwt(word) {
        return Some((0, Class::Jwt));
    }
    if is_postgres_hash(word) {
        return Some((0, Class::PasswordHash));
    }
    if maker(word).is_some() {
        return Some((0, Class::ApiKey));
    }
    // Behind a prefix of somebody's own.
    let joint = |sign: &u8| matches!(sign, b'_' | b'-' | b'.');
    if !has(word, joint) {
        return None;
    }
    let mut tries = 4;
    let joints = word.iter().enumerate().filter(|(_, sign)| joint(sign));
    for (place, _) in joints.take(MOST_JOINTS) {
        let tail = word.get(place + 1..)?;
        if tail.len() < LEAST as usize {
            return None;
        }
        if tail.starts_with(b"eyJ") && tries > 0 {
            tries -= 1;
            if is_jwt(tail) {
                return Some((place + 1, Class::Jwt));
            }
        }
        // Two letters are no proof in the middle of a word.
        if !tail.starts_with(b"SK") && !tail.starts_with(b"cio") && maker(tail).is_some() {
            return Some((place + 1, Class::ApiKey));
        }
        // What only makers write, with letters before it.
        for start in place.saturating_sub(6)..place.saturating_sub(1) {
            let made = maker(word.get(start..)?);
            if made.is_some_and(|prefix| prefix.len() > 4 || matches!(prefix, [b'g', b'h', ..])) {
                return Some((start, Class::ApiKey));
            }
        }
    }
    None
}

/// So many prefixes of somebody's own are looked behind.
const MOST_JOINTS: usize = 16;

fn is_jwt(word: &[u8]) -> bool {
    let mut parts = word.split(|sign| *sign == b'.');
    let head = parts.next().is_some_and(|head| head.len() >= 10);
    let body = parts.next().is_some_and(|body| body.len() >= 4);
    head && body && parts.next().is_some_and(|sign| sign.len() >= 10) && word.len() >= 40
}

/// The first two signs of every key: most words end here.
const HEADS: [u64; 1024] = {
    let mut heads = [0_u64; 1024];
    let mut rest = KEYS;
    while let [(prefix, _), others @ ..] = rest {
        if let [one, two, ..] = prefix {
            let head = (*one as usize) << 8 | *two as usize;
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                heads[head >> 6] |= 1 << (head & 63);
            }
        }
        rest = others;
    }
    heads
};

#[inline]
fn is_head(&[one, two]: &[u8; 2]) -> bool {
    let head = usize::from(one) << 8 | usize::from(two);
    HEADS.get(head >> 6).is_some_and(|heads| heads >> (head & 63) & 1 != 0)
}

/// What a key of a maker begins with.
fn maker(word: &[u8]) -> Option<&'static [u8]> {
    if !is_head(word.first_chunk()?) {
        return None;
    }
    // Not more of the same behind it.
    let ends = |length: usize| word.get(length).is_none_or(|sign| !sign.is_ascii_alphanumeric());
    let made = |(prefix, least): &&(&[u8], usize)| {
        let Some(tail) = word.strip_prefix(*prefix) else { return false };
        if word.len() < *least {
            return false;
        }
        let random =
            || tail.iter().any(u8::is_ascii_digit) && tail.iter().any(u8::is_ascii_alphabetic);
        match *prefix {
            b"AKIA" | b"ASIA" | b"ABIA" | b"ACCA" => {
                ends(20)
                    && tail
                        .iter()
                        .take(16)
                        .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit())
            }
            b"AIza" => matches!(word.get(39), None | Some(b'.')),
            b"LTAI" => word.len() <= 30 && tail.iter().all(u8::is_ascii_alphanumeric) && random(),
            // Two letters and 32 of base 16.
            b"SK" => ends(34) && tail.iter().take(32).all(u8::is_ascii_hexdigit),
            b"key-" | b"dapi" => tail.iter().take(32).all(u8::is_ascii_hexdigit),
            b"cio" | b"secret_" | b"hcp_" | b"fo1_" => {
                tail.iter().all(u8::is_ascii_alphanumeric) && random()
            }
            b"sk-" => random() && tail.iter().filter(|sign| **sign == b'-').count() < 4,
            b"AAAA" | b"EAAA" | b"EAAC" => random() && tail.iter().all(|sign| *sign != b'.'),
            _ => random(),
        }
    };
    KEYS.iter().find(made).map(|(prefix, _)| *prefix)
}

/// A hash of a password by its own mark, in the signs around a `$` or `{`; where
/// they end.
pub(super) fn hash(cell: &[u8], place: usize, floor: usize, found: &mut Vec<Found>) -> usize {
    const MARKS: &[(&[u8], usize)] = &[
        (b"$2a$", 60),
        (b"$2b$", 60),
        (b"$2x$", 60),
        (b"$2y$", 60),
        (b"$argon2", 40),
        (b"$1$", 20),
        (b"$5$", 30),
        (b"$6$", 60),
        (b"$7$", 30),
        (b"$y$", 30),
        (b"$apr1$", 30),
        (b"$P$", 34),
        (b"$H$", 34),
        (b"$S$", 50),
        (b"$scrypt$", 40),
        (b"$pbkdf2", 40),
        (b"pbkdf2_sha", 40),
        (b"pbkdf2:sha", 40),
        (b"scrypt:", 60),
        (b"bcrypt_sha256$", 60),
        (b"argon2$argon2", 40),
        (b"SCRAM-SHA-256$", 60),
        (b"SCRAM-SHA-1$", 60),
        (b"{SSHA", 30),
        (b"{SHA", 20),
        (b"{MD5}", 24),
        (b"{SMD5}", 24),
        (b"{CRYPT}", 20),
        (b"{PBKDF2", 40),
        (b"{bcrypt}", 60),
        (b"{noop}", 7),
    ];
    // Behind a letter these may be anything.
    const SHORT: [&[u8]; 4] = [b"$1$", b"$P$", b"$H$", b"$S$"];
    let is_part = |sign: u8| sign.is_ascii_graphic() && !b"\"'<>;".contains(&sign);
    let behind = cell.get(floor..place).unwrap_or_default();
    let first = place - behind.iter().rev().take_while(|sign| is_part(**sign)).count();
    for start in first..=place {
        let rest = cell.get(start..).unwrap_or_default();
        let begins = before(cell, start).is_none_or(|sign| !sign.is_ascii_alphanumeric())
            || cell.get(..start).is_some_and(edge::ends_with_escape)
            || rest.starts_with(b"$") && !SHORT.iter().any(|mark| rest.starts_with(mark));
        if !begins || !MARKS.iter().any(|(mark, _)| rest.starts_with(mark)) {
            continue;
        }
        let length = rest.iter().take_while(|sign| is_part(**sign)).count();
        if MARKS.iter().any(|(mark, least)| rest.starts_with(mark) && length >= *least) {
            found.push(Found { start, end: start + length, class: Class::PasswordHash });
        }
        return start + length;
    }
    place + 1
}

/// PostgreSQL's own: `md5` and 32 digits of base 16.
fn is_postgres_hash(word: &[u8]) -> bool {
    word.len() == 35
        && word.strip_prefix(b"md5").is_some_and(|tail| tail.iter().all(u8::is_ascii_hexdigit))
}

/// The dashes before a key's armour.
pub(super) const ARMOUR: u32 = 5;

/// From `-----BEGIN … PRIVATE KEY` to its end, or all that follows; where that is.
pub(super) fn private_key(cell: &[u8], start: usize, found: &mut Vec<Found>) -> Option<usize> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let head = cell.get(start..).filter(|head| head.starts_with(BEGIN))?;
    find(head.get(..64).unwrap_or(head), b"PRIVATE KEY")?;
    let end = find(head, END).map_or(cell.len(), |place| {
        let tail = head.get(place + END.len()..).unwrap_or_default();
        let close = find(tail, b"-----").map_or(tail.len(), |place| place + 5);
        start + place + END.len() + close
    });
    found.push(Found { start, end, class: Class::PrivateKey });
    Some(end)
}

/// The password of `scheme://user:password@host`, at its first colon.
pub(super) fn credentials(cell: &[u8], colon: usize, found: &mut Vec<Found>) {
    let Some(rest) = cell.get(colon..).and_then(|rest| rest.strip_prefix(b"://")) else { return };
    let start = colon + 3;
    let length = rest
        .iter()
        .take_while(|sign| sign.is_ascii_graphic() && !b"/\"'<>?#".contains(sign))
        .count();
    let authority = rest.get(..length).unwrap_or_default();
    let Some(at) = authority.iter().rposition(|sign| *sign == b'@') else { return };
    let Some(colon) = authority.iter().position(|sign| *sign == b':') else { return };
    if colon + 1 < at {
        found.push(Found {
            start: start + colon + 1,
            end: start + at,
            class: Class::ConnectionString,
        });
    }
}

/// So much of a value is looked at to judge it.
const JUDGED: usize = 256;

/// The value behind a word that announces a secret, `password=…`, `api_key: …`, at
/// the sign between them; where it ends.
pub(super) fn assigned(cell: &[u8], place: usize, found: &mut Vec<Found>) -> Option<usize> {
    let head = cell.get(..place)?.trim_ascii_end();
    let head = head.strip_suffix(b"\"").or_else(|| head.strip_suffix(b"'")).unwrap_or(head);
    // Most that stands before such a sign is no such word.
    if !may_announce(head) {
        return None;
    }
    let length = head
        .iter()
        .rev()
        .take(LONGEST_WORD)
        .take_while(|sign| sign.is_ascii_alphanumeric() || matches!(sign, b'_' | b'-'))
        .count();
    let (class, strict) = announces(head.get(head.len() - length..)?)?;
    let class = if class == Class::Password && names_server(cell) {
        Class::ConnectionString
    } else {
        class
    };
    let sign = cell.get(place)?;
    let tail = cell.get(place + 1..)?;
    let gap = tail.iter().take_while(|sign| matches!(sign, b' ' | b'=' | b'>')).count().min(3);
    let tail = tail.get(gap..)?;
    let (quote, tail) = match tail {
        [quote @ (b'"' | b'\''), rest @ ..] => (Some(*quote), rest),
        _ => (None, tail),
    };
    let goes_on = |sign: &&u8| match quote {
        Some(quote) => **sign != quote,
        None => **sign > b' ' && !b";&,\"')}".contains(sign),
    };
    let mut length = tail.iter().take(JUDGED).take_while(goes_on).count();
    if quote.is_none() && strict && tail.get(..length)?.ends_with(b".") {
        length -= 1;
    }
    let value = tail.get(..length)?;
    let odd = value.iter().any(|sign| !sign.is_ascii_lowercase());
    let good = value.len() >= 3
        && !value.starts_with(b"$")
        && !value.starts_with(b"<")
        && !value.starts_with(b"{")
        && !value.starts_with("•".as_bytes())
        && (*sign == b'=' || odd && value.len() >= 6)
        && !(strict && value.len() < 12);
    if !good {
        return None;
    }
    if length == JUDGED {
        length = tail.iter().take_while(goes_on).count();
    }
    let start = cell.len() - tail.len();
    found.push(Found { start, end: start + length, class });
    Some(start + length)
}

/// Whether a text of settings says where a database is.
fn names_server(cell: &[u8]) -> bool {
    const SERVERS: [&[u8]; 4] = [b"host=", b"server=", b"dbname=", b"data source="];
    let head = cell.get(..JUDGED).unwrap_or(cell).to_ascii_lowercase();
    SERVERS.iter().any(|one| find(&head, one).is_some())
}

/// So much of a word is looked at.
const LONGEST_WORD: usize = 40;

pub(super) const PASSWORDS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"pwd",
    b"passphrase",
    b"passwort",
    b"kennwort",
    b"motdepasse",
    b"contrasena",
    b"senha",
    b"wachtwoord",
];

pub(super) const SECRETS: &[&[u8]] = &[
    b"apikey",
    b"secretkey",
    b"accesskey",
    b"accountkey",
    b"clientsecret",
    b"secret",
    b"accesstoken",
    b"authtoken",
    b"refreshtoken",
    b"bearer",
    b"sharedaccesskey",
    b"privatekey",
    b"secretaccesskey",
];

/// Whether a text ends as one of those words does, or with what a name may end with
/// that isn't of the word.
#[inline]
fn may_announce(head: &[u8]) -> bool {
    match head {
        [.., b'_' | b'-'] => true,
        [.., one, two] => matches!(
            (one | 0x20, two | 0x20),
            (b'r' | b'w', b'd')
                | (b'r' | b'e', b't')
                | (b's', b'e')
                | (b'n' | b'h', b'a')
                | (b'e', b'y' | b'n' | b'r')
        ),
        _ => false,
    }
}

/// Whether a word announces a secret, and whether its value must be long.
fn announces(word: &[u8]) -> Option<(Class, bool)> {
    let mut room = [0_u8; LONGEST_WORD];
    let mut length = 0;
    for sign in word.iter().filter(|sign| sign.is_ascii_alphanumeric()) {
        *room.get_mut(length)? = sign.to_ascii_lowercase();
        length += 1;
    }
    let word = room.get(..length)?;
    if PASSWORDS.iter().any(|one| word.ends_with(one)) {
        return Some((Class::Password, false));
    }
    if word == b"token" || SECRETS.iter().any(|one| word.ends_with(one)) {
        return Some((Class::ApiKey, true));
    }
    None
}

/// Without an early end: faster in what is short.
#[inline]
fn has(text: &[u8], is: impl Fn(&u8) -> bool) -> bool {
    text.iter().fold(false, |any, sign| any | is(sign))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let place = from + rest.iter().position(|sign| *sign == first)?;
        if text.get(place..)?.starts_with(what) {
            return Some(place);
        }
        from = place + 1;
    }
}
