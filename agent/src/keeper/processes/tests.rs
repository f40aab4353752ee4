use super::*;

#[test]
fn this_process_is_known_by_its_start() {
    let tgid = std::process::id();
    let (_, ticks) = stat(Path::new("/proc/self")).unwrap();
    let right = read(ProcessKey { tgid, started: ticks * CLOCK_TICK, exec: 1 }, true);
    assert_eq!(right.exe, std::env::current_exe().ok());
    assert!(right.command.is_some_and(|command| !command.is_empty()));
    let wrong = read(ProcessKey { tgid, started: (ticks + 500) * CLOCK_TICK, exec: 1 }, true);
    assert!(wrong.exe.is_none() && wrong.command.is_none());
}

#[test]
fn an_argument_block_is_split_where_its_nuls_are() {
    assert_eq!(arguments(b"psql\0-c\0select 1\0"), ["psql", "-c", "select 1"]);
    assert_eq!(arguments(b"psql\0\0x"), ["psql", "", "x"]);
    assert!(arguments(b"").is_empty());
}
