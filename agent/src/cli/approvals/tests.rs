use super::*;
use crate::cli::tests::snapshot;
use crate::model::samples;

fn page() -> Page {
    Page { width: None, colour: false }
}

#[test]
fn holds_are_listed_like_this() {
    let mut out = Vec::new();
    page::list(&mut out, page(), &samples::holds(), samples::AT, false).unwrap();
    out.push(b'\n');
    page::list(&mut out, page(), &samples::holds(), samples::AT, true).unwrap();
    snapshot("approvals", &String::from_utf8(out).unwrap());
}

#[test]
fn a_hold_is_shown_whole_and_harmless() {
    let mut out = Vec::new();
    for hold in samples::holds() {
        page::whole(&mut out, page(), &hold, samples::AT).unwrap();
        out.push(b'\n');
    }
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("'2020-01-01' AND shop") && text.contains("#2:7 = #3:7"), "{text}");
    snapshot("approvals-show", &text);
}

#[test]
fn its_document_can_be_read_again() {
    for hold in samples::holds() {
        let text = output::compact(&hold).unwrap();
        assert_eq!(serde_json::from_str::<Hold>(&text).unwrap(), hold);
    }
}

#[test]
fn marks_and_times_are_checked_where_they_are_written() {
    use clap::Parser;
    let parse = |line: &str| {
        crate::cli::Arguments::try_parse_from(line.split(' ')).map(drop).map_err(|e| e.to_string())
    };
    let approve = "tidegate approvals approve lus-bab --reason x";
    for good in ["", " --once", " --for 1h", " --shape #1,$2 --for 30m"] {
        parse(&format!("{approve}{good}")).unwrap();
    }
    for (bad, why) in [
        (" --once --for 1h", "cannot be used with"),
        (" --shape 1", "marks nothing"),
        (" --shape #0", "marks nothing"),
        (" --for 10", "unit is missing"),
    ] {
        let error = parse(&format!("{approve}{bad}")).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(parse("tidegate approvals approve lus-bab").unwrap_err().contains("--reason"));
}
