use super::*;

/// It fetches 25 MB: `cargo test -p xtask suites -- --ignored`.
#[test]
#[ignore = "long: it fetches a source package"]
fn the_suites_of_the_installed_release_are_fetched_and_compiled() {
    let folder = postgres().unwrap();
    for file in ["regress/parallel_schedule", "isolation/isolation_schedule", "lib/regress.so"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    // Once is enough.
    assert_eq!(postgres().unwrap(), folder);
}
