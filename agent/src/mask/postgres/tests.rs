use std::sync::Arc;

use super::cell::{Cell, Cells, Rules, Shown};
use super::form::{Field as Part, Form};
use super::messages::Care;
use super::plan::{ColumnPlan, Plan, Treatment};
use super::screen::{Screen, Screening};
use crate::mask::class::Class;
use crate::mask::content::Demand;
use crate::mask::style::Mask;
use crate::mask::value::{Hand, HashKey};
use crate::wire::limits::Limits;
use crate::wire::postgres::testing::Dice;
use crate::wire::postgres::{Backend, Field};

fn hand() -> Hand {
    Hand { key: HashKey::new(b"key"), unicode: true }
}

const TEXT: Form = Form::Text { most: None, padded: false };

fn masked(form: Form, class: Class, mask: Mask, binary: bool, value: &[u8]) -> Option<Vec<u8>> {
    let treatment = Treatment::Mask { class, mask, derived: false };
    treated(form, treatment, binary, value)
}

/// What is shown; nothing for NULL.
fn treated(form: Form, treatment: Treatment, binary: bool, value: &[u8]) -> Option<Vec<u8>> {
    let mut cells = Cells::new(hand());
    let mut out = Vec::new();
    let rules = Rules::default();
    let cell = Cell { form: &form, binary, treatment, rules: &rules };
    match cells.cell(cell, value, &mut out) {
        Shown::Same => Some(value.to_vec()),
        Shown::Made => Some(out),
        Shown::Null => None,
    }
}

fn text(form: Form, class: Class, value: &str) -> String {
    let made = masked(form, class, class.default_mask(), false, value.as_bytes());
    made.map_or("NULL".into(), |made| String::from_utf8(made).unwrap())
}

fn scanned(form: Form, value: &str) -> String {
    let made = treated(form, Treatment::Scan(Demand::Check), false, value.as_bytes());
    made.map_or("NULL".into(), |made| String::from_utf8(made).unwrap())
}

#[test]
fn masks_look_as_they_should() {
    for (class, value, shown) in [
        (Class::Email, "jane@example.com", "j•••@e•••.com"),
        (Class::Email, "not an address", "•••"),
        (Class::Phone, "+1 (415) 555-2671", "+• (•••) •••-2671"),
        (Class::CreditCard, "4111 1111 1111 1111", "•••• •••• •••• 1111"),
        (Class::PersonName, "Jane van Doe", "J••• v••• D•••"),
        (Class::Iban, "DE89370400440532013000", "••••••••••••••••••3000"),
        (Class::UsSsn, "536-90-4399", "•••-••-4399"),
        (Class::BirthDate, "1980-05-03", "1980-01-01"),
        (Class::BirthDate, "3.5.1980", "1.1.1980"),
        (Class::BirthDate, "May 3, 1980", "•••"),
        (Class::IpAddress, "192.168.17.4", "192.168.17.0"),
        (Class::IpAddress, "2001:db8:1:2::3", "2001:db8:1::"),
        (Class::MacAddress, "aa:bb:cc:dd:ee:ff", "aa:bb:cc:00:00:00"),
        (Class::GeoPosition, "52.5200, -13.4050", "52.5, -13.4"),
        (Class::Password, "hunter2", "•••"),
        (Class::PostalAddress, "1 Main St", "•••"),
        (Class::Username, "jdoe", "j•••"),
    ] {
        assert_eq!(text(TEXT, class, value), shown, "{class} {value}");
    }
}

#[test]
fn a_length_limit_holds() {
    let limited = Form::Text { most: Some(6), padded: false };
    assert_eq!(text(limited, Class::Email, "a@b.co"), "a•••@b");
    let padded = Form::Text { most: Some(8), padded: true };
    assert_eq!(text(padded, Class::Password, "secret  "), "•••     ");
}

#[test]
fn hashes_are_the_same_for_the_same_and_need_the_key() {
    let hash = |value: &str| masked(TEXT, Class::Email, Mask::Hash, false, value.as_bytes());
    assert_eq!(hash("a@b.co"), hash("a@b.co"));
    assert_ne!(hash("a@b.co"), hash("a@b.cc"));
    let other = Hand { key: HashKey::new(b"other"), unicode: true };
    let mut out = Vec::new();
    other.write(Class::Email, Mask::Hash, b"a@b.co", &mut out);
    assert_ne!(hash("a@b.co"), Some(out));
}

#[test]
fn documents_are_masked_by_key_and_by_content() {
    for form in [Form::Json, Form::Jsonb] {
        assert_eq!(
            scanned(
                form.clone(),
                r#"{"email": "a\u0040b.co", "n": [1, "x"], "note": "call +49 30 901820"}"#
            ),
            r#"{"email": "a•••@b•••.co", "n": [1, "x"], "note": "call +•• •• ••1820"}"#
        );
        assert_eq!(
            scanned(form.clone(), r#"{"address":{"line":"1 Main","zip":94103},"ok":true}"#),
            r#"{"address":{"line":"•••","zip":0},"ok":true}"#
        );
        assert_eq!(
            scanned(
                form.clone(),
                r#"{"customers":[{"name":"Jane Doe"}],"product":{"name":"Lamp"}}"#
            ),
            r#"{"customers":[{"name":"J••• D•••"}],"product":{"name":"Lamp"}}"#
        );
        assert_eq!(scanned(form.clone(), r#"{"id": 7}"#), r#"{"id": 7}"#);
        assert_eq!(
            text(form, Class::Password, r#"{"a":["b",1,true,null]}"#),
            r#"{"a":["•••",0,false,null]}"#
        );
    }
    assert_eq!(
        scanned(TEXT, r#"{"last_name":"Doe"}"#),
        r#"{"last_name":"D•••"}"#,
        "a document in a column of text"
    );
    // What was made of a value may have it in its keys.
    let derived = Treatment::Mask { class: Class::Opaque, mask: Mask::Redact, derived: true };
    let made = treated(Form::Json, derived, false, br#"{"jane":1}"#).unwrap();
    assert_eq!(String::from_utf8(made).unwrap(), r#"{"•••":0}"#);
}

#[test]
fn nested_values_are_masked_inside() {
    let texts = Form::of_base(1009, -1).unwrap();
    assert_eq!(scanned(texts.clone(), r#"{x,"a@b.co",NULL}"#), r#"{x,"a•••@b•••.co",NULL}"#);
    assert_eq!(
        text(texts.clone(), Class::PersonName, r#"[0:1]={Jane,"Jo \"x\" Doe"}"#),
        r#"[0:1]={"J•••","•••"}"#
    );
    assert_eq!(text(texts, Class::Email, "{{a@b.co},{NULL}}"), r#"{{"a•••@b•••.co"},{NULL}}"#);
    let row = Form::Composite(Arc::new([
        Part { form: Form::Int(4), treatment: Treatment::Pass },
        Part {
            form: TEXT,
            treatment: Treatment::Mask { class: Class::Email, mask: Mask::Partial, derived: false },
        },
    ]));
    assert_eq!(scanned(row, r#"(1,a@b.co)"#), r#"(1,"a•••@b•••.co")"#);
    assert_eq!(text(Form::Record, Class::Opaque, r#"(1,"a b",)"#), "(,,)");
    assert_eq!(
        scanned(Form::Hstore, r#""email"=>"a@b.co", "x"=>NULL, "y"=>"z""#),
        r#""email"=>"a•••@b•••.co", "x"=>NULL, "y"=>"z""#
    );
    assert_eq!(
        scanned(Form::Xml, "<p><email>x</email><b t='a@b.co'>n</b></p>"),
        "<p><email>•••</email><b t='a•••@b•••.co'>n</b></p>"
    );
}

#[test]
fn scalars_stay_valid_in_text() {
    for (form, class, value, shown) in [
        (Form::Int(8), Class::CreditCard, "4111111111111111", "1111"),
        (Form::Int(2), Class::NationalId, "4", "0"),
        (Form::Numeric, Class::Phone, "4155552671.00", "0.00"),
        (Form::Date, Class::BirthDate, "1980-05-03", "1980-01-01"),
        (Form::Date, Class::BirthDate, "05/03/1980", "01/01/1980"),
        (Form::Date, Class::BirthDate, "0044-03-15 BC", "0044-01-01 BC"),
        (Form::Date, Class::BirthDate, "infinity", "infinity"),
        (
            Form::Timestamp,
            Class::BirthDate,
            "1980-05-03 10:11:12.5+05:30",
            "1980-01-01 00:00:00+05:30",
        ),
        (Form::Timestamp, Class::BirthDate, "Sat May 03 10:11:12 1980", "NULL"),
        (
            Form::Uuid,
            Class::ApiKey,
            "550e8400-e29b-41d4-a716-446655440000",
            "00000000-0000-0000-0000-000000000000",
        ),
        (Form::Network, Class::IpAddress, "10.1.2.3/32", "10.1.2.0/32"),
        (Form::Network, Class::IpAddress, "::1", "::"),
        (Form::Mac(6), Class::MacAddress, "08:00:2b:01:02:03", "08:00:2b:00:00:00"),
        (Form::Points(0), Class::GeoPosition, "(13.405,52.52)", "(13.4,52.5)"),
        (Form::Float(8), Class::GeoPosition, "-13.405", "-13.4"),
        (Form::Bool, Class::Diagnosis, "t", "f"),
        (Form::Bytes, Class::Password, "\\x616263", "\\x"),
        (Form::Money, Class::Opaque, "$1,234.56", "$0,000.00"),
        (Form::Range, Class::Opaque, "[1,5)", "(,)"),
        (Form::Interval, Class::Opaque, "3 days", "00:00:00"),
        (Form::Enum, Class::Opaque, "happy", "NULL"),
        (Form::Unknown, Class::Opaque, "whatever", "NULL"),
        (Form::Bits, Class::Opaque, "1011", "0000"),
    ] {
        assert_eq!(text(form.clone(), class, value), shown, "{form:?} {value}");
    }
    assert_eq!(scanned(Form::Bytes, "\\x6a406578616d706c652e636f6d"), "\\x");
    assert_eq!(scanned(Form::Int(8), "4111111111111111"), "1111");
    assert_eq!(scanned(Form::Unknown, "jane@doe.com"), "NULL");
}

#[test]
fn scalars_stay_valid_in_binary() {
    let shown = |form: Form, class: Class, value: &[u8]| {
        masked(form, class, class.default_mask(), true, value).unwrap()
    };
    // 1980-05-03 is 7183 days before 2000; 1980-01-01 is 7305.
    let days = |days: i32| days.to_be_bytes().to_vec();
    assert_eq!(shown(Form::Date, Class::BirthDate, &days(-7182)), days(-7305));
    assert_eq!(shown(Form::Date, Class::BirthDate, &days(0)), days(0));
    assert_eq!(shown(Form::Date, Class::BirthDate, &days(59)), days(0));
    assert_eq!(shown(Form::Date, Class::BirthDate, &days(365)), days(0));
    assert_eq!(shown(Form::Date, Class::BirthDate, &days(366)), days(366));
    let micros = |days: i64| (days * 86_400_000_000).to_be_bytes().to_vec();
    assert_eq!(shown(Form::Timestamp, Class::BirthDate, &micros(-7182)), micros(-7305));
    // 4111111111111111 as numeric: four groups.
    let numeric = [0, 4, 0, 3, 0, 0, 0, 0, 0x10, 0x0f, 0x04, 0x57, 0x04, 0x57, 0x04, 0x57];
    assert_eq!(
        shown(Form::Numeric, Class::CreditCard, &numeric),
        [0, 1, 0, 0, 0, 0, 0, 0, 0x04, 0x57]
    );
    // 52.5200 to one decimal.
    let degrees = [0, 2, 0, 0, 0, 0, 0, 4, 0, 52, 0x14, 0x50];
    assert_eq!(
        shown(Form::Numeric, Class::GeoPosition, &degrees),
        [0, 2, 0, 0, 0, 0, 0, 4, 0, 52, 0x13, 0x88]
    );
    assert_eq!(
        shown(Form::Network, Class::IpAddress, &[2, 32, 0, 4, 10, 1, 2, 3]),
        [2, 32, 0, 4, 10, 1, 2, 0]
    );
    assert_eq!(
        shown(Form::Int(8), Class::CreditCard, &4111111111111111_i64.to_be_bytes()),
        1111_i64.to_be_bytes()
    );
    let texts = Form::of_base(1009, -1).unwrap();
    let array = |value: &[u8]| {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1];
        bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    };
    assert_eq!(shown(texts, Class::Email, &array(b"a@b.co")), array("a•••@b•••.co".as_bytes()));
}

fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        match cell {
            None => body.extend_from_slice(&[0xff; 4]),
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    body
}

fn column(form: Form, treatment: Treatment) -> ColumnPlan {
    ColumnPlan { form, binary: false, treatment }
}

fn plan() -> Plan {
    let email = Treatment::Mask { class: Class::Email, mask: Mask::Partial, derived: false };
    let scan = Treatment::Scan(Demand::Check);
    Plan::new(
        [
            column(Form::Int(4), Treatment::Pass),
            column(TEXT, email),
            column(TEXT, scan),
            column(
                Form::Enum,
                Treatment::Mask { class: Class::Opaque, mask: Mask::Redact, derived: true },
            ),
        ]
        .into(),
        Rules::default(),
    )
}

#[test]
fn rows_are_masked_cell_by_cell() {
    let mut screen = Screen::new(hand());
    let plan = plan();
    let body = row(&[Some(b"1"), Some(b"jane@doe.com"), Some(b"hello"), Some(b"happy")]);
    let Ok(Screening::Made(made)) = screen.row(&plan, &body) else { panic!("not masked") };
    let expected = row(&[Some(b"1"), Some("j•••@d•••.com".as_bytes()), Some(b"hello"), None]);
    assert_eq!(made.bytes()[5..], expected);
    let length = u32::from_be_bytes(made.bytes()[1..5].try_into().unwrap());
    assert_eq!(length as usize, expected.len() + 4);
    let nothing = row(&[Some(b"1"), None, Some(b"hello"), None]);
    assert!(matches!(screen.row(&plan, &nothing), Ok(Screening::Unchanged(_))));
    let tally = screen.take_tally();
    assert_eq!(tally.iter().collect::<Vec<_>>(), [(Class::Email, 1), (Class::Opaque, 1)]);
    assert!(screen.take_tally().is_empty());
    assert!(screen.row(&plan, &row(&[Some(b"1")])).is_err(), "another number of columns");
    assert!(screen.row(&plan, &body[..body.len() - 1]).is_err(), "cut off");
}

/// What comes out is a row of as many columns, whatever goes in.
#[test]
fn any_bytes_in_any_type_give_a_whole_row() {
    let oids = [
        16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 600, 602, 604, 650, 700, 701, 705, 774, 790,
        829, 869, 1000, 1009, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1231, 1266, 1560, 1700,
        2249, 2277, 2287, 2950, 3614, 3615, 3802, 3807, 3904, 4451, 999_999,
    ];
    let samples: Vec<&[u8]> = vec![
        b"jane@doe.com",
        b"4111111111111111",
        b"{a,\"b@c.de\",NULL}",
        b"(1,\"a@b.co\",)",
        b"t",
        b"{\"a\": [1, \"b@c.de\"]}",
        b"1980-05-03 10:11:12+02",
        b"10.1.2.3/24",
        b"\\x6161",
        b"<a>b@c.de</a>",
        b"\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x01\0\0\0\x01\0\0\0\x02ab",
        b"\0\x02\0\0\0\0\0\x04\0\x34\x14\x50",
        b"\x01{\"a\":1}",
        b"",
        b"\xff\xfe",
        b"12:30:00",
    ];
    let mut dice = Dice::new(17);
    let mut screen = Screen::new(hand());
    let limits = Limits::default();
    let mut masked = 0;
    for _ in 0..40_000 {
        let count = 1 + dice.below(3);
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for _ in 0..count {
            let oid = oids[dice.below(oids.len())];
            let form = Form::of_base(oid, dice.below(12) as i32 - 1).unwrap_or(Form::Unknown);
            let class = Class::ALL[dice.below(Class::COUNT)];
            let treatment = match dice.below(4) {
                0 => Treatment::Scan(Demand::Check),
                1 => Treatment::Literals,
                _ => Treatment::Mask {
                    class,
                    mask: Mask::ALL[dice.below(Mask::ALL.len())],
                    derived: dice.below(2) == 0,
                },
            };
            columns.push(ColumnPlan { form, binary: dice.below(2) == 0, treatment });
            let mut value = samples[dice.below(samples.len())].to_vec();
            for _ in 0..dice.below(3) {
                if !value.is_empty() {
                    let place = dice.below(value.len());
                    value[place] = dice.below(256) as u8;
                }
            }
            value.truncate(value.len() - dice.below(1 + value.len() / 4));
            values.push(value);
        }
        let plan = Plan::new(columns.into(), Rules::default());
        let cells: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
        let body = row(&cells);
        if let Screening::Made(made) = screen.row(&plan, &body).unwrap() {
            masked += 1;
            let decoded = Backend::decode(b'D', &made.bytes()[5..], &limits).unwrap();
            let Backend::DataRow(values) = decoded else { panic!("not a row") };
            assert_eq!(values.len(), count);
        }
    }
    assert!(masked > 10_000, "only {masked} rows were masked");
}

#[test]
fn messages_lose_the_values_they_quote() {
    let mut screen = Screen::new(hand());
    let rules = Rules::default();
    let limits = Limits::default();
    for (care, state, code, said, shown) in [
        (
            Care::Scan,
            "23505",
            b'D',
            "Key (email)=(jane (x)) already exists.",
            "Key (email)=(•••) already exists.",
        ),
        (
            Care::Scan,
            "23502",
            b'D',
            "Failing row contains (1, jane, null).",
            "Failing row contains (•••).",
        ),
        (
            Care::Scan,
            "23505",
            b'M',
            "duplicate key value violates unique constraint \"t_email_key\"",
            "duplicate key value violates unique constraint \"t_email_key\"",
        ),
        (
            Care::Scan,
            "22P02",
            b'M',
            "invalid input syntax for type integer: \"jane\"",
            "invalid input syntax for type integer: \"•••\"",
        ),
        (
            Care::Scan,
            "22P02",
            b'W',
            "COPY t, line 3, column a: \"jane\"",
            "COPY t, line 3, column a: \"•••\"",
        ),
        (
            Care::Scan,
            "22P02",
            b'M',
            "ungültige Eingabesyntax für Typ integer: »jane«",
            "ungültige Eingabesyntax für Typ integer: »•••«",
        ),
        (Care::Scan, "00000", b'M', "value is jane@doe.com", "value is j•••@d•••.com"),
        (Care::Touches, "P0001", b'M', "jane", "•••"),
        (
            Care::Touches,
            "42P01",
            b'M',
            "relation \"jane\" does not exist",
            "relation \"•••\" does not exist",
        ),
        (
            Care::Scan,
            "42P01",
            b'M',
            "relation \"jane\" does not exist",
            "relation \"jane\" does not exist",
        ),
    ] {
        let mut made = Vec::new();
        let fields = [
            Field { code: Field::SQLSTATE, text: state.as_bytes() },
            Field { code, text: said.as_bytes() },
        ];
        crate::wire::postgres::write_error(fields, &mut made).unwrap();
        let Ok(Backend::ErrorResponse(fields)) = Backend::decode(b'E', &made[5..], &limits) else {
            panic!("no error")
        };
        let bytes = match screen.message(b'E', fields, care, b"", &rules).unwrap() {
            Screening::Unchanged(_) => made.clone(),
            Screening::Made(masked) => masked.bytes().to_vec(),
        };
        let Ok(Backend::ErrorResponse(fields)) = Backend::decode(b'E', &bytes[5..], &limits) else {
            panic!("no error any more")
        };
        let text = String::from_utf8_lossy(fields.field(code).unwrap()).into_owned();
        assert_eq!(text, shown);
    }
}

/// A table as the server would describe it.
fn catalog() -> crate::mask::Catalog {
    use crate::mask::catalog::{Column, Relation};
    let mut catalog = crate::mask::Catalog::default();
    let columns = [("id", 23), ("email", 25), ("city", 25), ("born", 1082)];
    catalog.learn(Relation {
        oid: 16500,
        schema: "public".into(),
        name: "customers".into(),
        kind: 'r',
        columns: (1..)
            .zip(columns)
            .map(|(number, (name, type_oid))| Column {
                number,
                name: name.into(),
                type_oid,
                modifier: -1,
                comment: None,
                class: None,
            })
            .collect(),
        definition: None,
        parents: Vec::new(),
    });
    catalog
}

fn origins(text: &str) -> crate::mask::Origins {
    use crate::sql::{Cell, LexingState};
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    crate::mask::Origins::of(facts.statements.first().unwrap(), &catalog())
}

fn described<'a>(
    name: &'a str,
    table: u32,
    attribute: i16,
    type_oid: u32,
) -> crate::wire::postgres::Column<'a> {
    crate::wire::postgres::Column {
        name: name.as_bytes(),
        table,
        attribute,
        type_oid,
        type_size: -1,
        modifier: -1,
        format: 0,
    }
}

#[test]
fn a_plan_follows_the_description_then_the_lineage_then_the_name() {
    use super::plan::{Revealed, Unrevealed};
    let classes = |text: &str, columns: Vec<crate::wire::postgres::Column<'_>>| {
        let columns = columns.into_iter().map(|column| (column, 0));
        Plan::of(columns, &origins(text), &catalog(), &Unrevealed).classes().collect::<Vec<_>>()
    };
    // Under another name, by the server's word.
    assert_eq!(
        classes(
            "select email as x, id from customers",
            vec![described("x", 16500, 2, 25), described("id", 16500, 1, 23)]
        ),
        [Class::Email]
    );
    // The server has lost it; the text tells.
    assert_eq!(
        classes("select lower(email) as x from customers", vec![described("x", 0, 0, 25)]),
        [Class::Email]
    );
    // Not understood in its number of columns, and it reads what is sensitive.
    assert_eq!(
        classes(
            "select f(email) from customers",
            vec![described("a", 0, 0, 25), described("b", 0, 0, 25)]
        ),
        [Class::Opaque, Class::Opaque]
    );
    // A table that isn't known, under another name: the text has the column's.
    assert_eq!(
        classes("select phone as x from elsewhere", vec![described("x", 999, 1, 25)]),
        [Class::Phone]
    );
    // A table that isn't known, and an expression: by name.
    assert_eq!(classes("select 1", vec![described("phone", 999, 1, 25)]), [Class::Phone]);
    assert_eq!(classes("select now()", vec![described("now", 0, 0, 1184)]), []);
    let all = origins("select email from customers");
    let columns = [(described("email", 16500, 2, 25), 0)];
    assert!(Plan::of(columns, &all, &catalog(), &Revealed).passes());
}

#[test]
fn the_keys_of_a_row_as_a_document_are_its_columns() {
    let all = origins("select row_to_json(c) from customers c");
    let columns = [(described("row_to_json", 0, 0, 114), 0)];
    let plan = Plan::of(columns, &all, &catalog(), &super::plan::Unrevealed);
    let mut screen = Screen::new(hand());
    let body = row(&[Some(br#"{"id":1,"email":"x","city":"Rome"}"#)]);
    let Ok(Screening::Made(made)) = screen.row(&plan, &body) else { panic!("not masked") };
    let shown = String::from_utf8_lossy(made.bytes()).into_owned();
    assert!(shown.ends_with(r#"{"id":1,"email":"•••","city":"Rome"}"#), "{shown}");
}

/// What is shown of a document that a query gives, where somebody has functions of
/// these names.
fn shown_of(text: &str, functions: &[&str], document: &str) -> String {
    use crate::mask::catalog::Function;
    use crate::sql::{Cell, LexingState};
    let mut catalog = catalog();
    let own = |name: &&str| {
        (
            (*name).into(),
            vec![Function { schema: "public".into(), tells: false, writes: [].into() }],
        )
    };
    catalog.set_functions(functions.iter().map(own).collect());
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let origins = crate::mask::Origins::of(facts.statements.first().unwrap(), &catalog);
    let columns = [(described("d", 0, 0, 114), 0)];
    let plan = Plan::of(columns, &origins, &catalog, &super::plan::Unrevealed);
    let body = row(&[Some(document.as_bytes())]);
    let mut screen = Screen::new(hand());
    match screen.row(&plan, &body) {
        Ok(Screening::Made(made)) => String::from_utf8_lossy(&made.bytes()[11..]).into_owned(),
        _ => document.to_owned(),
    }
}

#[test]
fn the_keys_of_a_document_are_those_of_the_text() {
    for (text, document, shown) in [
        (
            "select json_build_object('id', id, 'mail', email) from customers",
            r#"{"id" : 1, "mail" : "x"}"#,
            r#"{"id" : 1, "mail" : "•••"}"#,
        ),
        (
            "select json_agg(json_build_object('who', json_build_object('m', email), 'id', id)) from customers",
            r#"[{"who" : {"m" : "x"}, "id" : 17}]"#,
            r#"[{"who" : {"m" : "•••"}, "id" : 17}]"#,
        ),
        (
            "select jsonb_agg(o) from (select json_build_object('m', email, 'n', city) as o from customers) x",
            r#"[{"m": "x", "n": "Rome"}]"#,
            r#"[{"m": "•••", "n": "Rome"}]"#,
        ),
        (
            "select json_build_object('a', email::text, 'b', coalesce(email, 'none')) from customers",
            r#"{"a" : "x", "b" : "x"}"#,
            r#"{"a" : "•••", "b" : "•••"}"#,
        ),
        // What the text calls it counts too, and what doesn't agree is masked whole.
        (
            "select json_build_object('ssn', city, 'phone', email) from customers",
            r#"{"ssn" : "Rome", "phone" : "+1 415 555 2671"}"#,
            r#"{"ssn" : "•••e", "phone" : "•••"}"#,
        ),
    ] {
        assert_eq!(shown_of(text, &[], document), shown, "{text}");
    }
}

#[test]
fn the_keys_of_a_document_may_be_values() {
    let document = r#"{"jane" : 1}"#;
    for text in [
        "select json_build_object(email, 1) from customers",
        "select json_build_object('a', json_build_object(email, 1)) from customers",
        "select json_build_object('a', email, email, 1) from customers",
        "select json_build_object('a', jsonb_object_agg(email, 1)) from customers",
        "select jsonb_object_agg(email, json_build_object('a', email)) from customers",
        "select json_build_object('a', to_json(email)) from customers",
        "select json_build_object('abc'::varchar(1), email) from customers",
        "select json_build_object('é', email) from customers",
        "select json_build_object(variadic array['a', email]) from customers",
        "select json_build_object('a', email)::jsonb || jsonb_build_object(email, 1) from customers",
        "select coalesce(to_json(email), json_build_object('a', email)) from customers",
        "select case when id > 1 then json_build_object('a', email) else email::json end from customers",
        "select json_build_object('a', c) from customers c",
        "select own.json_build_object('a', email) from customers",
        "select (jsonb_build_object('a', email))['a'] from customers",
        "select json_build_object('a', array[email]) from customers",
        "select row(json_build_object('a', email))::own.w::json from customers",
        "select (to_jsonb(c))['email'] from customers c",
        "select row_to_json(row(c.*)) from customers c",
        "select to_json(n) from (select * from customers) n(a, b, c, d)",
        "select c.pick from customers c",
    ] {
        assert_eq!(shown_of(text, &[], document), r#"{"•••" : 0}"#, "{text}");
    }
    let text = "select json_build_object('a', email) from customers";
    assert_eq!(shown_of(text, &[], document), document);
    // Somebody's own may be meant.
    assert_eq!(shown_of(text, &["json_build_object"], document), r#"{"•••" : 0}"#);
}

/// What is structured by single bytes can't be read where a sign may end with one.
#[test]
fn in_an_encoding_whose_signs_end_with_a_backslash_documents_are_null() {
    let all = origins("select row_to_json(c) from customers c");
    let columns = [(described("row_to_json", 0, 0, 114), 0)];
    let plan = Plan::of(columns, &all, &catalog(), &super::plan::Unrevealed);
    let mut screen = Screen::new(hand());
    screen.set_mixed(true);
    let body = row(&[Some(b"{\"k\" : \"\x83\\\", \"email\" : \"jane\"}")]);
    let Ok(Screening::Made(made)) = screen.row(&plan, &body) else { panic!("not masked") };
    assert!(made.bytes().ends_with(&[0, 1, 0xff, 0xff, 0xff, 0xff]), "{:?}", made.bytes());
    let mut copy = super::copy::CopyScreen::new(super::copy::CopyStyle::text());
    assert!(copy.data(&mut screen, &plan, b"jane\n", true).is_err());
}

#[test]
fn a_key_within_something_sensitive_makes_no_less_of_it() {
    // `tel` would show the last signs of what is a name.
    let shown = shown_of(
        "select json_build_object('a', email) from customers",
        &[],
        r#"{"a" : {"tel":"+1 415 555 2671","x":"y"}}"#,
    );
    assert_eq!(shown, r#"{"a" : {"tel":"•••","x":"•••"}}"#);
}

/// A view, a table that was filled: nobody can tell any more how its documents were made.
#[test]
fn in_what_was_made_of_something_sensitive_keys_are_masked() {
    use crate::mask::catalog::{Column, Relation};
    use crate::mask::names::Evidence;
    use crate::sql::{Cell, LexingState};
    let mut catalog = catalog();
    catalog.set_functions(std::collections::HashMap::new());
    catalog.learn(Relation {
        oid: 16600,
        schema: "public".into(),
        name: "made".into(),
        kind: 'v',
        columns: vec![Column {
            number: 1,
            name: "o".into(),
            type_oid: 3802,
            modifier: -1,
            comment: None,
            class: None,
        }],
        definition: None,
        parents: Vec::new(),
    });
    catalog.classify(16600, 1, Class::Opaque, Evidence::Lineage);
    let row_of = described("row_to_json", 0, 0, 114);
    for (text, column, document, shown) in [
        ("select o from made", described("o", 16600, 1, 3802), r#"{"jane": 1}"#, r#"{"•••": 0}"#),
        ("select row_to_json(m) from made m", row_of, r#"{"o":{"jane":1}}"#, r#"{"o":{"•••":0}}"#),
        (
            "select json_build_object('k', o) from made",
            row_of,
            r#"{"k" : {"jane": [{"joe": "x"}]}}"#,
            r#"{"k" : {"•••": [{"•••": "•••"}]}}"#,
        ),
    ] {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        let origins = crate::mask::Origins::of(facts.statements.first().unwrap(), &catalog);
        let plan = Plan::of([(column, 0)], &origins, &catalog, &super::plan::Unrevealed);
        let mut screen = Screen::new(hand());
        let body = row(&[Some(document.as_bytes())]);
        let Ok(Screening::Made(made)) = screen.row(&plan, &body) else { panic!("{text}") };
        assert!(String::from_utf8_lossy(made.bytes()).ends_with(shown), "{text}");
    }
}

#[test]
fn a_copy_is_planned_by_its_statement() {
    let plan =
        |text: &str| Plan::of_copy(&origins(text), false, &catalog(), &super::plan::Unrevealed);
    assert_eq!(plan("copy customers to stdout").columns().len(), 4);
    let classes = |text: &str| plan(text).classes().collect::<Vec<_>>();
    assert_eq!(classes("copy customers to stdout"), [Class::Email, Class::BirthDate]);
    assert_eq!(plan("copy customers (id, email) to stdout").columns().len(), 2);
    assert_eq!(
        plan("copy (select substr(email, 2) from customers) to stdout")
            .classes()
            .collect::<Vec<_>>(),
        [Class::Email]
    );
    // How many columns there are isn't known.
    assert!(plan("copy (select * from elsewhere) to stdout").columns().is_empty());
    assert!(!plan("copy (select * from elsewhere) to stdout").passes());
}
