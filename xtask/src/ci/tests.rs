use super::*;

#[test]
fn the_command_is_taken_from_a_code_block_of_the_readme() {
    let readme = "Run cargo xtask test.\ncargo xtask test --in-prose\n\n```sh\ncargo xtask demo\n\
                  cargo xtask tests-of-another-name\ncargo xtask test   # all of them\n```\n";
    assert_eq!(command_in(readme), Some("cargo xtask test"));
    assert_eq!(command_in("```\ncargo xtask demo\n```\ncargo xtask test\n"), None);
}

#[test]
fn our_own_readme_gives_all_tests_and_nothing_less() {
    assert_eq!(readme_tests().unwrap(), "cargo xtask test");
}
