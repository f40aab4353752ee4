use super::*;

#[test]
fn known_moments_are_written_and_read() {
    for (nanos, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
        (1_795_222_800_123_456_000, "2026-11-21T01:00:00.123456Z"),
    ] {
        assert_eq!(Timestamp(nanos).to_string(), text);
        assert_eq!(text.parse(), Ok(Timestamp(nanos)));
    }
}

#[test]
fn offsets_are_taken_off() {
    let utc: Timestamp = "2026-11-21T01:00:00Z".parse().unwrap();
    assert_eq!("2026-11-21T02:30:00+01:30".parse(), Ok(utc));
    assert_eq!("2026-11-20T20:00:00-05:00".parse(), Ok(utc));
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-11-21",
        "2026-11-21T1:0Z",
        "2026-02-30T00:00:00Z",
    ] {
        assert!(text.parse::<Timestamp>().is_err(), "{text}");
    }
}

#[test]
fn every_day_of_four_centuries_comes_back() {
    for day in 0..146_097 {
        let (year, month, day_of_month) = civil(day);
        assert_eq!(days(year, month, day_of_month), Some(day));
    }
}
