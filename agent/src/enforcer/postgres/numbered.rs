//! Functions that are called by their numbers.

/// The functions that client libraries call by number: those of large objects.
/// The server's own never change their numbers.
pub fn large_object(function: u32) -> Option<&'static [u8]> {
    Some(match function {
        715 => b"SELECT pg_catalog.lo_create($1)",
        764 => b"SELECT pg_catalog.lo_import($1)",
        765 => b"SELECT pg_catalog.lo_export($1, $2)",
        767 => b"SELECT pg_catalog.lo_import($1, $2)",
        952 => b"SELECT pg_catalog.lo_open($1, $2)",
        953 => b"SELECT pg_catalog.lo_close($1)",
        954 => b"SELECT pg_catalog.loread($1, $2)",
        955 => b"SELECT pg_catalog.lowrite($1, $2)",
        956 => b"SELECT pg_catalog.lo_lseek($1, $2, $3)",
        957 => b"SELECT pg_catalog.lo_creat($1)",
        958 => b"SELECT pg_catalog.lo_tell($1)",
        964 => b"SELECT pg_catalog.lo_unlink($1)",
        1004 => b"SELECT pg_catalog.lo_truncate($1, $2)",
        3170 => b"SELECT pg_catalog.lo_lseek64($1, $2, $3)",
        3171 => b"SELECT pg_catalog.lo_tell64($1)",
        3172 => b"SELECT pg_catalog.lo_truncate64($1, $2)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::large_object;
    use crate::sql::{Cell, Effect, Effects, LexingState};

    #[test]
    fn a_number_says_what_is_called() {
        let read = Effects::of(Effect::Read);
        for (function, effects) in [
            (953, read),
            (954, read),
            (955, read.with(Effect::Update)),
            (964, read.with(Effect::Delete)),
            (764, read.with(Effect::UnsafeIo)),
            (765, read.with(Effect::UnsafeIo)),
        ] {
            let text = large_object(function).unwrap();
            let facts = Cell::quick(text, &LexingState::default()).unwrap();
            assert!(facts.understood(), "{function}");
            assert_eq!(facts.effects(), effects, "{function}");
        }
        // pg_read_file, and one that somebody wrote: not by name, so not at all.
        assert_eq!((large_object(2624), large_object(16_384)), (None, None));
    }
}
