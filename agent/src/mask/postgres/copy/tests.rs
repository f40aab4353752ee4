use super::*;
use crate::mask::class::Class;
use crate::mask::postgres::cell::Rules;
use crate::mask::postgres::form::Form;
use crate::mask::style::Mask;
use crate::mask::value::{Hand, HashKey};
use crate::wire::postgres::testing::Dice;

fn screen() -> Screen {
    Screen::new(Hand { key: HashKey::new(b"key"), unicode: true })
}

fn plan() -> Plan {
    let text = Form::Text { most: None, padded: false };
    let email = Treatment::Mask { class: Class::Email, mask: Mask::Partial, derived: false };
    Plan::new(
        [
            ColumnPlan { form: Form::Int(4), binary: false, treatment: Treatment::Pass },
            ColumnPlan { form: text.clone(), binary: false, treatment: email },
            ColumnPlan { form: text, binary: false, treatment: Treatment::Scan(Demand::Check) },
        ]
        .into(),
        Rules::default(),
    )
}

/// The payloads of the messages that come out, one after the other.
fn through(style: &CopyStyle, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    tried(style, stream, cuts).unwrap()
}

fn tried(style: &CopyStyle, stream: &[u8], cuts: &[usize]) -> Result<Vec<u8>, Unshowable> {
    let (mut screen, plan, mut copy) = (screen(), plan(), CopyScreen::new(style.clone()));
    let mut out = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().chain([&stream.len()]) {
        let piece = &stream[from..*cut];
        from = *cut;
        match copy.data(&mut screen, &plan, piece, true)? {
            Screening::Unchanged(_) => out.extend_from_slice(piece),
            Screening::Made(made) => out.extend_from_slice(payload(made.bytes())),
        }
    }
    out.extend_from_slice(payload(copy.end(&mut screen, &plan)?.bytes()));
    Ok(out)
}

fn payload(message: &[u8]) -> &[u8] {
    if message.is_empty() {
        return message;
    }
    assert_eq!(message[0], b'd');
    let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
    assert_eq!(length as usize + 1, message.len());
    &message[5..]
}

fn anyhow(style: CopyStyle, stream: &[u8], expected: &[u8]) {
    let mut dice = Dice::new(5);
    for _ in 0..200 {
        let mut cuts: Vec<usize> = (0..dice.below(6)).map(|_| dice.below(stream.len())).collect();
        cuts.sort_unstable();
        let out = through(&style, stream, &cuts);
        assert_eq!(
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(expected),
            "cut at {cuts:?}"
        );
    }
}

#[test]
fn text_is_masked_however_it_is_cut() {
    anyhow(
        CopyStyle::text(),
        b"1\tjane@doe.com\tcall\\t+49 30 901820\n2\t\\N\tnothing\\\\here\n3\tx\t\\N\n",
        "1\tj•••@d•••.com\tcall\\t+•• •• ••1820\n2\t\\N\tnothing\\\\here\n3\t•••\t\\N\n".as_bytes(),
    );
}

#[test]
fn csv_is_masked_however_it_is_cut() {
    anyhow(
        CopyStyle::csv(),
        b"1,\"jane@doe.com\",\"two\nlines, \"\"jane@doe.com\"\"\"\n2,,plain\n3,a@b.co,\"\"\n",
        "1,\"j•••@d•••.com\",\"two\nlines, \"\"j•••@d•••.com\"\"\"\n2,,plain\n3,\"a•••@b•••.co\",\"\"\n"
            .as_bytes(),
    );
}

#[test]
fn binary_is_masked_however_it_is_cut() {
    let row = |email: &str| {
        let mut row = vec![0, 3, 0, 0, 0, 4, 0, 0, 0, 9];
        row.extend_from_slice(&(email.len() as u32).to_be_bytes());
        row.extend_from_slice(email.as_bytes());
        row.extend_from_slice(&[0xff; 4]);
        row
    };
    let whole = |email: &str| [SIGNATURE, &[0; 8], &row(email), &row(email), &[0xff; 2]].concat();
    anyhow(CopyStyle::Binary, &whole("jane@doe.com"), &whole("j•••@d•••.com"));
}

#[test]
fn a_row_of_another_shape_is_not_shown() {
    let (mut screen, plan) = (screen(), plan());
    for (style, row) in [
        (CopyStyle::text(), b"1\tjane@doe.com\n".as_slice()),
        (CopyStyle::text(), b"1\ta\tb\tjane@doe.com\n"),
        (CopyStyle::csv(), b"1,jane@doe.com\n"),
        (CopyStyle::Binary, b"not a signature of COPY"),
    ] {
        let mut copy = CopyScreen::new(style.clone());
        assert!(copy.data(&mut screen, &plan, row, true).is_err(), "{style:?}");
    }
}

/// Field by field and sign by sign, as the server's own reader does.
fn slowly(line: &[u8], delimiter: u8) -> (usize, bool) {
    let (mut place, mut escaped) = (0, false);
    while let Some(&sign) = line.get(place) {
        if sign == delimiter {
            return (place, escaped);
        }
        escaped |= sign == b'\\';
        place += if sign == b'\\' { 2 } else { 1 };
    }
    (line.len(), escaped)
}

#[test]
fn fields_end_where_the_server_ends_them() {
    let mut dice = Dice::new(13);
    for _ in 0..20_000 {
        let line: Vec<u8> =
            (0..dice.below(80)).map(|_| b"\t\t\\\\,abcdefgh"[dice.below(13)]).collect();
        let (end, escaped) = slowly(&line, b'\t');
        let value = if escaped { unescaped(&line[..end]) } else { line[..end].to_vec() };
        assert_eq!(text_field(&line, b'\t'), (value.into(), end, false), "{line:?}");
    }
}

#[test]
fn what_comes_out_does_not_depend_on_where_the_stream_was_cut() {
    let mut dice = Dice::new(17);
    let pieces: [&[u8]; 12] = [
        b"1",
        b"jane@doe.com",
        b"\\t",
        b"\\\\",
        b"\"",
        b"\"\"",
        b"\\N",
        b"'",
        b"'\"",
        b" ",
        b"x\ny",
        b"",
    ];
    let escaped = CopyStyle::Csv {
        delimiter: b',',
        null: Box::default(),
        quote: b'"',
        escape: b'\'',
        header: false,
    };
    let styles = [(CopyStyle::text(), b'\t'), (CopyStyle::csv(), b','), (escaped, b',')];
    let (mut shown, mut turned_away) = (0, 0);
    for round in 0..6_000 {
        let (style, delimiter) = &styles[round % styles.len()];
        let mut stream = Vec::new();
        for _ in 0..=dice.below(3) {
            for field in 0..3 {
                // The first column is shown as it comes.
                for _ in 0..if field == 0 { 0 } else { dice.below(3) } {
                    stream.extend_from_slice(pieces[dice.below(pieces.len())]);
                }
                stream.push(if field < 2 { *delimiter } else { b'\n' });
            }
        }
        let out = |cuts: &[usize]| tried(style, &stream, cuts).map_err(|why| why.to_string());
        let whole = out(&[]);
        match &whole {
            Ok(_) => shown += 1,
            Err(_) => turned_away += 1,
        }
        let mut cuts: Vec<usize> = (0..dice.below(5)).map(|_| dice.below(stream.len())).collect();
        cuts.sort_unstable();
        assert_eq!(out(&cuts), whole, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&stream));
        if let Ok(whole) = whole {
            assert!(!String::from_utf8_lossy(&whole).contains("jane@"), "{whole:?}");
        }
    }
    assert!(shown > 1_000 && turned_away > 100, "{shown} and {turned_away}");
}

#[test]
fn what_is_written_between_quotes_is_no_longer_than_its_column_takes() {
    let form = Form::Text { most: Some(16), padded: false };
    let column = ColumnPlan { form, binary: false, treatment: Treatment::Literals };
    let plan = Plan::new([column].into(), Rules::default());
    let (mut screen, mut copy) = (screen(), CopyScreen::new(CopyStyle::text()));
    let Screening::Made(made) =
        copy.data(&mut screen, &plan, b"where x = '' or 'a'\n", true).unwrap()
    else {
        panic!("nothing was masked");
    };
    let shown = std::str::from_utf8(payload(made.bytes())).unwrap();
    assert_eq!(shown, "where x = '' or \n");
}

#[test]
fn bytes_of_any_kind_do_no_harm() {
    let mut dice = Dice::new(9);
    let signs = b"\t\n\\,\"N1a@.\0\xff\x00\x00\x00\x04";
    for round in 0..4_000 {
        let style = match round % 4 {
            0 => CopyStyle::text(),
            1 => CopyStyle::csv(),
            2 => CopyStyle::Binary,
            _ => CopyStyle::Lines,
        };
        let (mut screen, plan) = (screen(), plan());
        let mut copy = CopyScreen::new(style);
        for _ in 0..4 {
            let piece: Vec<u8> =
                (0..dice.below(40)).map(|_| signs[dice.below(signs.len())]).collect();
            if copy.data(&mut screen, &plan, &piece, false).is_err() {
                break;
            }
        }
        let _ = copy.end(&mut screen, &plan);
    }
}

#[test]
fn the_statement_says_how_it_is_written() {
    let csv = |delimiter, header| CopyStyle::Csv {
        delimiter,
        null: Box::default(),
        quote: b'"',
        escape: b'"',
        header,
    };
    for (text, expected) in [
        ("copy t to stdout", Some(CopyStyle::text())),
        ("COPY t (a, b) TO STDOUT;", Some(CopyStyle::text())),
        ("copy t to stdout with (format csv)", Some(csv(b',', false))),
        ("copy t to stdout (format 'csv', header, delimiter ';')", Some(csv(b';', true))),
        ("copy t to stdout with csv header delimiter as '|'", Some(csv(b'|', true))),
        ("copy (select 'to stdout csv') to stdout with binary", Some(CopyStyle::Binary)),
        ("copy binary t to stdout", Some(CopyStyle::Binary)),
        ("copy t to stdout (format csv, force_quote (a, b), header false)", Some(csv(b',', false))),
        (
            "copy t to stdout (format csv, force_quote *, header, encoding 'UTF8')",
            Some(csv(b',', true)),
        ),
        ("copy t to stdout (shape 'round')", None),
        ("select 1", None),
    ] {
        assert_eq!(CopyStyle::of(text), expected, "{text}");
    }
}
