use super::*;
use crate::mask::value::{Hand, HashKey};
use crate::wire::limits::Limits;
use crate::wire::postgres::{Backend, Field, write_error};

/// A recursion's context has a line for each call: what is the client's own is shown as long
/// as there is time to look for it.
#[test]
fn a_long_text_is_not_gone_through_for_each_line_of_a_context() {
    let said = |length: usize| {
        let asked = format!("{}own_name", " ".repeat(length));
        let context = vec!["SQL statement \"own_name\""; 1_000].join("\n");
        let mut made = Vec::new();
        let fields = [
            Field { code: Field::SQLSTATE, text: b"54001" },
            Field { code: WHERE, text: context.as_bytes() },
        ];
        write_error(fields, &mut made).unwrap();
        let limits = Limits::default();
        let Ok(Backend::ErrorResponse(fields)) = Backend::decode(b'E', &made[5..], &limits) else {
            panic!("no error")
        };
        let mut screen = Screen::new(Hand { key: HashKey::new(b"key"), unicode: true });
        let (care, rules) = (Care::Touches, Rules::default());
        let told = screen.message(b'E', fields, care, asked.as_bytes(), &rules).unwrap();
        match told {
            Screening::Unchanged(_) => 1_000,
            Screening::Made(made) => {
                let text = String::from_utf8_lossy(made.bytes()).into_owned();
                assert!(text.contains("\"•••\""), "{text}");
                text.matches("own_name").count()
            }
        }
    };
    assert_eq!(said(1_000), 1_000);
    assert_eq!(said(16 * 1024 * 1024 - 8), LOOKED_THROUGH / (16 * 1024 * 1024));
}
