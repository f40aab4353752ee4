use super::*;

#[test]
fn a_failed_step_shows_the_end_of_its_log() {
    assert_eq!(end_of("a\nb\nc\n", 2), "b\nc");
    assert_eq!(end_of("a\n", 2), "a");
}

#[test]
fn a_command_reads_as_it_is_typed() {
    let mut command = Command::new("/usr/bin/cargo");
    command.args(["build", "--release"]);
    assert_eq!(line(&command), "cargo build --release");
}

#[test]
fn a_command_that_fails_says_why() {
    let error = read(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"]));
    let text = format!("{:#}", error.unwrap_err());
    assert!(text.contains("the reason") && text.contains('3'), "{text}");
}
