use clap::CommandFactory;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn what_is_not_ours_is_handed_on() {
    for words in [
        ["xtask", "demo", "--check"].as_slice(),
        &["xtask", "bench", "relay", "--json"],
        &["xtask", "test", "matrix", "--all"],
    ] {
        assert!(Arguments::try_parse_from(words).is_ok(), "{words:?}");
    }
    assert!(Arguments::try_parse_from(["xtask", "build", "--check"]).is_err());
}
