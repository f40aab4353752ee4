//! Moments and spans as people write them: `7d`, `yesterday`, `2026-11-21 10:00`.
//!
//! A day is a day in UTC, as the log's times are.

use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::config;
use crate::model::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    /// Days ago, at their begin.
    Day(u64),
    At(Timestamp),
}

pub fn moment(text: &str) -> Result<Moment, String> {
    match text {
        "now" => return Ok(Moment::Ago(Duration::ZERO)),
        "today" => return Ok(Moment::Day(0)),
        "yesterday" => return Ok(Moment::Day(1)),
        _ => {}
    }
    if let Some(at) = written(text) {
        return Ok(Moment::At(at));
    }
    if let Ok(ago) = config::parse_duration(text) {
        return Ok(Moment::Ago(ago));
    }
    if is_dated(text) {
        return Err(format!("there is no `{text}`: write 2026-11-21 or 2026-11-21T10:00:00Z"));
    }
    Err(format!(
        "`{text}` is neither a duration such as `15m`, `7d` or `1w`, nor `now`, `today` or \
         `yesterday`, nor a time such as 2026-11-21 or 2026-11-21T10:00:00Z"
    ))
}

/// A time with all that belongs to it, or without its zone, seconds, or clock: UTC's.
fn written(text: &str) -> Option<Timestamp> {
    let (clock, seconds) = ("T00:00:00Z", ":00Z");
    let length = text.len();
    let whole = match length {
        10 => format!("{text}{clock}"),
        16 => format!("{text}{seconds}"),
        _ if text.get(11..).is_some_and(|clock| !clock.contains(['Z', 'z', '+', '-'])) => {
            format!("{text}Z")
        }
        _ => text.to_owned(),
    };
    whole.parse().ok()
}

/// Whether a date was meant.
fn is_dated(text: &str) -> bool {
    let mut signs = text.bytes();
    signs.by_ref().take(4).all(|digit| digit.is_ascii_digit()) && signs.next() == Some(b'-')
}

impl Moment {
    /// Since 1970.
    pub fn micros(self) -> u64 {
        self.micros_at(Timestamp::now().0 / 1_000)
    }

    fn micros_at(self, now: u64) -> u64 {
        match self {
            Self::At(at) => at.0 / 1_000,
            Self::Ago(ago) => {
                now.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX))
            }
            Self::Day(ago) => (now / DAY).saturating_sub(ago) * DAY,
        }
    }
}

/// From, and before.
pub fn span(
    since: Option<Moment>,
    until: Option<Moment>,
) -> Result<(Option<u64>, Option<u64>), Failure> {
    let (since, until) = (since.map(Moment::micros), until.map(Moment::micros));
    match (since, until) {
        (Some(from), Some(before)) if from >= before => {
            let told = |micros: u64| Timestamp(micros.saturating_mul(1_000));
            Err(Failure::text(
                Exit::Usage,
                format!(
                    "`--until` ({}) is not after `--since` ({}): nothing can lie between them",
                    told(before),
                    told(from)
                ),
            ))
        }
        span => Ok(span),
    }
}

/// Microseconds.
const DAY: u64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn moments_are_taken_as_people_write_them() {
        let ago = |days: u64| Moment::Ago(Duration::from_secs(days * 86_400));
        for (text, expected) in [
            ("2026-11-21", Moment::At(at("2026-11-21T00:00:00Z"))),
            ("2026-11-21 10:00:00", Moment::At(at("2026-11-21T10:00:00Z"))),
            ("2026-11-21T10:00:00", Moment::At(at("2026-11-21T10:00:00Z"))),
            ("2026-11-21 10:00", Moment::At(at("2026-11-21T10:00:00Z"))),
            ("2026-11-21 10:00:00.5", Moment::At(at("2026-11-21T10:00:00.5Z"))),
            ("2026-11-21 10:00:00+02:00", Moment::At(at("2026-11-21T08:00:00Z"))),
            ("2026-11-21T10:00:00Z", Moment::At(at("2026-11-21T10:00:00Z"))),
            ("2024-02-29", Moment::At(at("2024-02-29T00:00:00Z"))),
            ("1w", ago(7)),
            ("1w2d", ago(9)),
            ("7d", ago(7)),
            ("now", ago(0)),
            ("today", Moment::Day(0)),
            ("yesterday", Moment::Day(1)),
        ] {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        let noon = at("2026-11-21T12:00:00Z").0 / 1_000;
        for (moment, day) in [(Moment::Day(0), "2026-11-21"), (Moment::Day(1), "2026-11-20")] {
            assert_eq!(
                Ok(Moment::At(Timestamp(moment.micros_at(noon) * 1_000))),
                self::moment(day)
            );
        }
    }

    #[test]
    fn days_that_there_are_not_are_refused() {
        for text in
            ["2026-02-30", "2026-02-29", "2026-13-01", "2026-04-31 10:00", "2026-11-21 25:00"]
        {
            assert!(moment(text).unwrap_err().starts_with("there is no `2026-"), "{text}");
        }
        for text in ["", "soon", "2026", "10:00", "7 d", "öäüöäüöäüö"] {
            assert!(moment(text).unwrap_err().contains("neither a duration"), "{text}");
        }
    }

    #[test]
    fn a_span_that_holds_nothing_is_told() {
        let day = |text| Some(moment(text).unwrap());
        assert!(span(day("2026-11-20"), day("2026-11-21")).is_ok());
        assert!(span(None, day("2026-11-21")).is_ok() && span(day("now"), None).is_ok());
        for (since, until) in [("2026-11-21", "2026-11-20"), ("today", "today"), ("1d", "1w")] {
            let error = span(day(since), day(until)).unwrap_err();
            assert!(error.to_string().contains("is not after `--since`"), "{error}");
        }
    }
}
