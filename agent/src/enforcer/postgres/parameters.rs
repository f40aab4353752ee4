//! What a client binds, for the record and for policies: text as it comes, binary values
//! of the server's own types as the server would print them, others as bytes.
//!
//! Never decides what is kept of it: that is `audit`'s.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use crate::audit::Parameter;
use crate::policy::values::{self, Is, Value};
use crate::wire::postgres::{Formats16, Values};

/// Of one Bind or FunctionCall. `types`: as far as anybody has said them.
/// Nothing is looked at where no value is kept.
pub fn told<'v>(
    values: Values<'v>,
    formats: Formats16<'_>,
    types: &[u32],
    kept: bool,
) -> Vec<Parameter<'v>> {
    let all = formats.iter().next().filter(|_| formats.len() == 1);
    let mut formats = formats.iter();
    let mut types = types.iter();
    let one = |value: Option<&'v [u8]>| {
        let format = all.or_else(|| formats.next()).unwrap_or(0);
        let type_oid = types.next().copied().unwrap_or(0);
        match value {
            None => Parameter::Null,
            Some(_) if !kept => Parameter::Unread,
            Some(value) if format == 0 => Parameter::Value(text(value)),
            Some(value) => Parameter::Value(binary(type_oid, value)),
        }
    };
    values.iter().take(MOST).map(one).collect()
}

/// The same for policies, which take nothing for what it may not be: bytes that aren't
/// read, or signs of another encoding, are untold.
pub fn values(
    bound: Values<'_>,
    formats: Formats16<'_>,
    types: &[u32],
    unicode: bool,
) -> Arc<[Value]> {
    let all = formats.iter().next().filter(|_| formats.len() == 1);
    let mut formats = formats.iter();
    let mut types = types.iter();
    let one = |value: Option<&[u8]>| {
        let format = all.or_else(|| formats.next()).unwrap_or(0);
        let type_oid = types.next().copied().unwrap_or(0);
        let kind = name(type_oid);
        let Some(value) = value else { return Value { kind, is: Is::Null } };
        let told = match format {
            _ if value.len() > values::LONGEST => None,
            0 => Some(text(value)),
            _ => Some(binary(type_oid, value)),
        };
        // Bytes as such are no value, unless they are of a type that has no other.
        let read = |told: &Cow<'_, str>| {
            (unicode || told.is_ascii())
                && (format == 0 || !told.starts_with("\\x"))
                && !told.contains('\u{fffd}')
        };
        match told.filter(read) {
            Some(told) => Value::text(kind, &told),
            None => Value { kind, is: Is::Untold },
        }
    };
    bound.iter().map(one).collect()
}

fn name(type_oid: u32) -> &'static str {
    match type_oid {
        BOOL => "bool",
        NAME => "name",
        INT8 => "int8",
        INT2 => "int2",
        INT4 => "int4",
        TEXT => "text",
        OID => "oid",
        JSON => "json",
        XML => "xml",
        FLOAT4 => "float4",
        FLOAT8 => "float8",
        BPCHAR => "bpchar",
        VARCHAR => "varchar",
        DATE => "date",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamptz",
        NUMERIC => "numeric",
        UUID => "uuid",
        JSONB => "jsonb",
        // Somebody's own, or nobody has said it.
        _ => "unknown",
    }
}

/// No more than a record would hold, and a little, so that it is seen to be cut.
fn head(value: &[u8]) -> &[u8] {
    value.get(..LONGEST).unwrap_or(value)
}

fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(head(value))
}

/// A value of another length than its type's is told as bytes.
fn binary(type_oid: u32, value: &[u8]) -> Cow<'_, str> {
    let plain = match type_oid {
        TEXT | VARCHAR | BPCHAR | NAME | UNKNOWN | JSON | XML => return text(value),
        JSONB => match value {
            // Its version goes before.
            [1, json @ ..] => return text(json),
            _ => None,
        },
        BOOL => match value {
            [0] => return "f".into(),
            [1] => return "t".into(),
            _ => None,
        },
        INT2 => value.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
        INT4 => value.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
        INT8 => value.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
        OID => value.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        FLOAT4 => value.try_into().ok().map(|bytes| f32::from_be_bytes(bytes).to_string()),
        FLOAT8 => value.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
        UUID => uuid(value),
        DATE => value.try_into().ok().and_then(|bytes| date(i32::from_be_bytes(bytes).into())),
        TIMESTAMP | TIMESTAMPTZ => {
            value.try_into().ok().and_then(|bytes| timestamp(i64::from_be_bytes(bytes)))
        }
        NUMERIC => numeric(value),
        _ => None,
    };
    plain.unwrap_or_else(|| hex(value)).into()
}

fn hex(value: &[u8]) -> String {
    let mut out = String::from("\\x");
    for byte in value.iter().take(LONGEST / 2) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn uuid(value: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = value.try_into().ok()?;
    let mut out = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
}

/// Days since 2000-01-01, in the Gregorian calendar of all times.
fn date(days: i64) -> Option<String> {
    // Beyond these are the infinities.
    if !(-2_451_545..=1_000_000_000).contains(&days) {
        return None;
    }
    // Years begin in March, so that the odd day is a year's last.
    let shifted = days + 730_425;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Some(if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    })
}

/// Microseconds since 2000.
fn timestamp(micros: i64) -> Option<String> {
    let date = date(micros.div_euclid(DAY))?;
    let rest = micros.rem_euclid(DAY);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Some(match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {time}{fraction} BC"),
        None => format!("{date} {time}{fraction}"),
    })
}

/// Groups of four digits behind a head of four words.
fn numeric(value: &[u8]) -> Option<String> {
    let mut words = value.as_chunks().0.iter().map(|word| u16::from_be_bytes(*word));
    let (count, weight) = (words.next()?, words.next()?.cast_signed());
    let (sign, scale) = (words.next()?, usize::from(words.next()?));
    let groups: Vec<u16> = words.collect();
    if groups.len() != usize::from(count) || !value.len().is_multiple_of(2) {
        return None;
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        0xc000 => return Some("NaN".into()),
        0xd000 => return Some("Infinity".into()),
        0xf000 => return Some("-Infinity".into()),
        _ => return None,
    };
    if !(-1_000..=1_000).contains(&weight) || scale > 4_000 {
        return None;
    }
    let group = |place: i16| {
        let index = usize::try_from(i32::from(weight) - i32::from(place)).ok()?;
        groups.get(index).copied()
    };
    let mut out = sign.to_owned();
    for place in (0..=weight.max(0)).rev() {
        let group = group(place).unwrap_or(0);
        if place == weight.max(0) {
            let _ = write!(out, "{group}");
        } else {
            let _ = write!(out, "{group:04}");
        }
    }
    if scale > 0 {
        let mut decimals = String::new();
        let mut place = -1;
        while decimals.len() < scale {
            let _ = write!(decimals, "{:04}", group(place).unwrap_or(0));
            place -= 1;
        }
        decimals.truncate(scale);
        let _ = write!(out, ".{decimals}");
    }
    Some(out)
}

/// No record keeps more.
const MOST: usize = 256;
const LONGEST: usize = 2_048;
const DAY: i64 = 86_400_000_000;

const BOOL: u32 = 16;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const OID: u32 = 26;
const JSON: u32 = 114;
const XML: u32 = 142;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const UNKNOWN: u32 = 705;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

#[cfg(test)]
mod tests;
