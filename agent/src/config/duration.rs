//! Durations as people write them: `500ms`, `30s`, `10m`, `1h30m`, `2d`.

use std::time::Duration;

/// Read, and never written: ninety days are ninety days.
const WEEK: (&str, u64) = ("w", 604_800_000);
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads numbers, each with its unit, the units falling.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| {
        format!("`{text}` is not a duration ({why}): write `500ms`, `30s`, `10m` or `1h30m`")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("it is empty"));
    }
    let mut millis = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(wrong("a number is missing"));
        }
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        if name.is_empty() {
            return Err(wrong("its unit is missing"));
        }
        let Some(&(_, unit)) = UNITS.iter().chain([&WEEK]).find(|(known, _)| *known == name) else {
            return Err(wrong(&format!("`{name}` is no unit")));
        };
        if unit >= smallest {
            return Err(wrong("the larger unit comes first, each once"));
        }
        smallest = unit;
        millis = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| wrong("it is too long"))?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// The shortest form that [`parse`] reads back, to the millisecond.
pub fn write(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, unit) in UNITS.iter().rev() {
        let count = millis / unit;
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            millis %= unit;
        }
    }
    text
}
