//! Foreign text made harmless, and numbers as people read them.

use std::borrow::Cow;

/// Whether a terminal does something else with it than showing it: control
/// characters, and those that turn or hide the text around them.
pub(super) fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything escaped that a terminal would obey.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if obeyed(c) { harmless.extend(c.escape_default()) } else { harmless.push(c) }
    }
    Cow::Owned(harmless)
}

/// Cut to so many characters, the last then being `…`.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

/// `1.2 KiB`
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut shown = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be shown as 1024.0 is one of the next unit.
    while shown >= 1023.95 {
        let Some(next) = units.next() else { break };
        (shown, unit) = (shown / 1024.0, next);
    }
    format!("{shown:.1} {unit}")
}

/// `350 µs`, `12.3 ms`, `4.5 s`, `2m 3s`, `1h 2m`, `3d 4h`
pub fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ if seconds < 60 => format!("{seconds}.{} s", micros % 1_000_000 / 100_000),
        _ if seconds < 3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long before `now` it was; of the future: nothing.
pub fn ago(then: crate::model::Timestamp, now: crate::model::Timestamp) -> String {
    span(now.0.saturating_sub(then.0) / 1_000)
}
