use super::*;

fn report(name: &str, lines: &[&str]) -> Report {
    let mut report = Report::new(name);
    for line in lines {
        report.line(line);
    }
    report
}

#[test]
fn results_are_found_among_what_a_console_says() {
    let report = report(
        "6.1",
        &[
            "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS (version 1.16)\r",
            "\u{1b}[1mGUEST READY 6.1.0-56-cloud-amd64\r",
            "[    1.2] RESULT noise",
            "RESULT connect4 ok\r",
            "RESULT bind6 failed permission denied (os error 13)\r",
            "GUEST EXIT 1\r",
        ],
    );
    assert_eq!(report.kernel.as_deref(), Some("6.1.0-56-cloud-amd64"));
    assert_eq!(report.exit, Some(1));
    assert_eq!(report.results["connect4"], Outcome::Passed);
    assert_eq!(report.results["bind6"], Outcome::Failed("permission denied (os error 13)".into()));
    assert_eq!(report.results.len(), 2);
}

#[test]
fn a_result_that_is_not_understood_or_is_contradicted_is_a_failure() {
    let report = report("x", &["RESULT a", "RESULT b okay", "RESULT c failed why", "RESULT c ok"]);
    for test in ["a", "b", "c"] {
        assert!(matches!(report.results[test], Outcome::Failed(_)), "{test}");
    }
}

#[test]
fn a_table_has_a_row_a_test_and_a_column_a_kernel() {
    let reports = [
        report("6.1", &["GUEST READY 6.1.0", "RESULT connect4 ok", "RESULT tfo failed no"]),
        report("host", &["RESULT connect4 ok"]),
    ];
    assert_eq!(
        table(&reports),
        "test      6.1.0  host\nconnect4  ok     ok\ntfo       FAILED  absent"
    );
}

#[test]
fn nothing_to_complain_of_only_if_everything_passed_to_the_end() {
    let good = || report("good", &["RESULT a ok", "GUEST EXIT 0"]);
    assert_eq!(complaints(&[good()]), Vec::<String>::new());
    assert_eq!(complaints(&[]).len(), 1);

    let cut = report("cut", &["RESULT a ok", "Kernel panic"]);
    assert_eq!(complaints(&[good(), cut])[0], "cut: ended before its suite did; last lines:");

    let mut late = good();
    late.late = true;
    assert!(complaints(&[late])[0].contains("deadline"));

    let silent = report("silent", &["GUEST EXIT 0"]);
    assert_eq!(complaints(&[silent]), ["silent: reported no test at all"]);

    let other = report("other", &["RESULT b ok", "GUEST EXIT 0"]);
    let found = complaints(&[good(), other]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|line| line.contains("not reported")));

    let code = report("code", &["RESULT a ok", "GUEST EXIT 3"]);
    assert!(complaints(&[code])[0].contains("ended with 3"));
}
