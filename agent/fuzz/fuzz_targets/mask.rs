//! Answers of a server, cells of any bytes in columns of any type.
//!
//! The first byte says what the rest is: a row, a COPY in pieces, a message, or a
//! cell to be repeated. Whatever comes, nothing panics; a row comes back with as
//! many columns, those that pass untouched, NULLs as NULLs; a document stays a
//! document, a number a number, text what it was in its encoding; a stream of
//! lines has as many; and what is long takes no more than its length.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustix::time::{ClockId, clock_gettime};
use tidegate::mask::content::{self, Demand};
use tidegate::mask::postgres::cell::Rules;
use tidegate::mask::postgres::copy::{CopyScreen, CopyStyle};
use tidegate::mask::postgres::form::{Field as Part, Form};
use tidegate::mask::postgres::messages::Care;
use tidegate::mask::postgres::plan::{ColumnPlan, Plan, Treatment};
use tidegate::mask::{Class, Hand, HashKey, Mask, Screen, Screening};
use tidegate::wire::limits::Limits;
use tidegate::wire::postgres::{Backend, Notification, Parameter};

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind & 3 {
        0 => row(Input(rest)),
        1 => copy(Input(rest)),
        2 => message(*kind, Input(rest)),
        _ => repeated(Input(rest)),
    }
});

/// Bytes that are taken from the front; 0 where there are none any more.
struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn piece(&mut self, most: usize) -> &'d [u8] {
        let (piece, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    fn form(&mut self) -> Form {
        let oid = self.pick(OIDS);
        let modifier = i32::from(self.byte()) - 1;
        if oid != COMPOSITE {
            return Form::of_base(oid, modifier).unwrap_or(Form::Unknown);
        }
        let fields = (0..self.byte() % 4).map(|_| {
            let form = Form::of_base(self.pick(OIDS), -1).unwrap_or(Form::Unknown);
            Part { form, treatment: self.treatment() }
        });
        Form::Composite(fields.collect::<Vec<_>>().into())
    }

    fn treatment(&mut self) -> Treatment {
        let how = self.byte();
        match how & 7 {
            0 => Treatment::Pass,
            1 => Treatment::Scan(Demand::Check),
            2 => Treatment::Scan(Demand::Form),
            3 => Treatment::Literals,
            _ => Treatment::Mask {
                class: self.pick(Class::ALL),
                mask: self.pick(Mask::ALL),
                derived: how & 8 != 0,
            },
        }
    }

    fn column(&mut self) -> ColumnPlan {
        let form = self.form();
        let treatment = match self.treatment() {
            // Plans are texts.
            Treatment::Literals if !matches!(form, Form::Text { .. }) => Treatment::Pass,
            treatment => treatment,
        };
        ColumnPlan { form, treatment, binary: self.byte() & 1 == 1 }
    }
}

const COMPOSITE: u32 = 0;
const OIDS: &[u32] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 600, 602, 604, 650, 700, 701, 705, 774, 790, 829,
    869, 1000, 1001, 1009, 1016, 1042, 1043, 1082, 1083, 1114, 1182, 1184, 1186, 1231, 1266, 1560,
    1700, 2249, 2277, 2287, 2950, 3614, 3615, 3802, 3807, 3904, 4451, 999_999, COMPOSITE,
];

fn screen(unicode: bool) -> Screen {
    Screen::new(Hand { key: HashKey::new(b"key"), unicode })
}

fn row(mut input: Input<'_>) {
    let how = input.byte();
    let mut columns = Vec::new();
    let mut cells = Vec::new();
    for _ in 0..=how & 3 {
        columns.push(input.column());
        let length = usize::from(input.byte());
        cells.push((length != 255).then(|| input.piece(length)));
    }
    // The last takes what is left.
    if let Some(Some(last)) = cells.last_mut()
        && last.is_empty()
    {
        *last = input.0;
    }
    let mut screen = screen(how & 4 == 0);
    let plan = Plan::new(columns.clone().into(), Rules::default());
    let body = body_of(&cells);
    let Ok(screening) = screen.row(&plan, &body) else { panic!("the row is whole") };
    if let Screening::Made(made) = screening {
        let shown = row_in(made.bytes());
        assert_eq!(shown.len(), columns.len());
        for ((column, cell), shown) in columns.iter().zip(&cells).zip(&shown) {
            check(column, how & 4 == 0, *cell, shown.as_deref());
        }
    }
    // A row that isn't what it should be is not shown.
    let cut = usize::from(input.byte()) % body.len();
    if !plan.passes() && cut > 0 {
        assert!(screen.row(&plan, &body[..body.len() - cut]).is_err());
    }
}

fn body_of(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        let length = cell.map_or(-1, |cell| cell.len() as i32);
        body.extend(length.to_be_bytes());
        body.extend_from_slice(cell.unwrap_or_default());
    }
    body
}

/// The cells of one whole DataRow.
fn row_in(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let body = body_in(b'D', bytes);
    match Backend::decode(b'D', body, &Limits::default()) {
        Ok(Backend::DataRow(values)) => values.iter().map(|one| one.map(<[u8]>::to_vec)).collect(),
        other => panic!("not a row: {other:?}"),
    }
}

fn body_in(tag: u8, bytes: &[u8]) -> &[u8] {
    assert_eq!(bytes[0], tag);
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    assert_eq!(length as usize, bytes.len() - 1);
    &bytes[5..]
}

/// Whether a cell that a server could have sent became one that it could send.
fn check(column: &ColumnPlan, unicode: bool, cell: Option<&[u8]>, shown: Option<&[u8]>) {
    let (Some(cell), Some(shown)) = (cell, shown) else {
        assert!(cell.is_some() || shown.is_none(), "NULL became a value");
        assert!(shown.is_some() || column.treatment != Treatment::Pass || cell.is_none());
        return;
    };
    if column.treatment == Treatment::Pass {
        assert_eq!(cell, shown);
    }
    if column.binary && !matches!(column.form, Form::Text { .. } | Form::Json) {
        let fixed = match column.form {
            Form::Bool => 1,
            Form::Int(bytes) | Form::Float(bytes) | Form::Mac(bytes) => usize::from(bytes),
            Form::Date => 4,
            Form::Money | Form::Timestamp | Form::Time => 8,
            Form::TimeZone => 12,
            Form::Uuid | Form::Interval => 16,
            _ => return,
        };
        assert!(cell.len() != fixed || shown.len() == fixed, "{column:?} {cell:x?} {shown:x?}");
        return;
    }
    let Ok(text) = std::str::from_utf8(cell) else { return };
    let what = || format!("{column:?} {text:?} {:?}", String::from_utf8_lossy(shown));
    let shown = std::str::from_utf8(shown).unwrap_or_else(|_| panic!("{}", what()));
    assert!(unicode || !text.is_ascii() || shown.is_ascii(), "{}", what());
    let stays = |is: fn(&str) -> bool| assert!(!is(text) || is(shown), "{}", what());
    match &column.form {
        Form::Text { most: Some(most), .. } => {
            let most = *most as usize;
            assert!(text.chars().count() > most || shown.chars().count() <= most, "{}", what());
        }
        Form::Json | Form::Jsonb => stays(is_document),
        Form::Int(2) => stays(|text| text.parse::<i16>().is_ok()),
        Form::Int(4) => stays(|text| text.parse::<i32>().is_ok()),
        Form::Int(8) => stays(|text| text.parse::<i64>().is_ok()),
        Form::Float(_) => stays(|text| text.parse::<f64>().is_ok()),
        Form::Bool => stays(|text| matches!(text, "t" | "f")),
        Form::Uuid => stays(|text| {
            text.len() == 36 && text.bytes().all(|sign| sign == b'-' || sign.is_ascii_hexdigit())
        }),
        Form::Bytes => stays(|text| {
            text.strip_prefix("\\x").is_some_and(|digits| {
                digits.len() % 2 == 0 && digits.bytes().all(|sign| sign.is_ascii_hexdigit())
            })
        }),
        Form::Bits => stays(|text| text.bytes().all(|sign| matches!(sign, b'0' | b'1'))),
        Form::Date => stays(|text| {
            let mut parts = text.splitn(3, '-').map(|part| part.parse::<u16>().ok());
            let [Some(_), Some(1..=12), Some(1..=28)] = [(); 3].map(|()| parts.next().flatten())
            else {
                return false;
            };
            text.len() == 10
        }),
        _ => {}
    }
}

fn is_document(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

fn copy(mut input: Input<'_>) {
    let how = input.byte();
    let style = match how & 7 {
        0 | 1 => CopyStyle::text(),
        2 => CopyStyle::csv(),
        3 => CopyStyle::Binary,
        4 => CopyStyle::Lines,
        5 => CopyStyle::Text { delimiter: input.byte(), null: [0x4e].into(), header: true },
        6 => CopyStyle::Csv {
            delimiter: b';',
            null: b"NULL".as_slice().into(),
            quote: b'\'',
            escape: b'\\',
            header: true,
        },
        _ => CopyStyle::Csv {
            delimiter: input.byte(),
            null: Box::default(),
            quote: input.byte(),
            escape: input.byte(),
            header: false,
        },
    };
    if !can_be(&style) {
        return;
    }
    let lines = matches!(style, CopyStyle::Text { delimiter: b'\t', .. } | CopyStyle::Lines);
    let columns: Vec<_> = (0..how >> 3 & 3).map(|_| input.column()).collect();
    let plan = Plan::new(columns.into(), Rules::default());
    let bite = usize::from(input.byte());
    let stream = input.0;
    let whole = copied(&style, &plan, stream, stream.len().max(1), true);
    let bitten = copied(&style, &plan, stream, bite.max(1), how & 32 == 0);
    // Wherever it is cut, the same is shown.
    assert_eq!(whole, bitten);
    if lines && let Some(shown) = whole {
        let count = |bytes: &[u8]| bytes.iter().filter(|sign| **sign == b'\n').count();
        assert_eq!(count(stream), count(&shown));
    }
}

/// Whether a server takes these signs for a COPY.
fn can_be(style: &CopyStyle) -> bool {
    let plain = |sign: u8| sign.is_ascii() && !matches!(sign, 0 | b'\n' | b'\r');
    match *style {
        CopyStyle::Text { delimiter, .. } => {
            plain(delimiter) && !delimiter.is_ascii_alphanumeric() && !b"\\.".contains(&delimiter)
        }
        CopyStyle::Csv { delimiter, quote, escape, .. } => {
            plain(delimiter) && plain(quote) && plain(escape) && delimiter != quote
        }
        CopyStyle::Binary | CopyStyle::Lines => true,
    }
}

/// What the client gets of a stream; nothing if it is not shown to its end.
fn copied(
    style: &CopyStyle,
    plan: &Plan,
    stream: &[u8],
    bite: usize,
    whole: bool,
) -> Option<Vec<u8>> {
    let mut screen = screen(true);
    let mut copy = CopyScreen::new(style.clone());
    let mut shown = Vec::new();
    for piece in stream.chunks(bite) {
        match copy.data(&mut screen, plan, piece, whole).ok()? {
            Screening::Unchanged(_) => shown.extend_from_slice(piece),
            Screening::Made(made) => shown.extend(data_in(made.bytes())),
        }
    }
    shown.extend(data_in(copy.end(&mut screen, plan).ok()?.bytes()));
    Some(shown)
}

fn data_in(bytes: &[u8]) -> &[u8] {
    if bytes.is_empty() { bytes } else { body_in(b'd', bytes) }
}

fn message(kind: u8, input: Input<'_>) {
    let mut screen = screen(kind & 4 == 0);
    let care = if kind & 8 == 0 { Care::Scan } else { Care::Touches };
    let (rules, limits) = (Rules::default(), Limits::default());
    if kind & 16 != 0 {
        let Some(end) = input.0.iter().position(|sign| *sign == 0) else { return };
        let (name, value) = (&input.0[..end], &input.0[end + 1..]);
        let value = value.split(|sign| *sign == 0).next().unwrap_or_default();
        if kind & 32 != 0 {
            let parameter = Parameter { name, value };
            if let Screening::Made(made) = screen.parameter(parameter, care, &rules).unwrap() {
                let said = Backend::decode(b'S', body_in(b'S', made.bytes()), &limits).unwrap();
                assert!(matches!(said, Backend::ParameterStatus(one) if one.name == name));
            }
        } else {
            let told = Notification { process: 7, channel: name, payload: value };
            if let Screening::Made(made) = screen.notification(told, care, &rules).unwrap() {
                let said = Backend::decode(b'A', body_in(b'A', made.bytes()), &limits).unwrap();
                assert!(matches!(said, Backend::NotificationResponse(one) if one.channel == name));
            }
        }
        return;
    }
    let Ok(Backend::ErrorResponse(fields)) = Backend::decode(b'E', input.0, &limits) else {
        return;
    };
    if let Screening::Made(made) = screen.message(b'E', fields, care, b"", &rules).unwrap() {
        let shown = Backend::decode(b'E', body_in(b'E', made.bytes()), &limits);
        let Ok(Backend::ErrorResponse(shown)) = shown else { panic!("no error any more") };
        let codes: Vec<_> = fields.iter().map(|field| field.code).collect();
        assert_eq!(shown.iter().map(|field| field.code).collect::<Vec<_>>(), codes);
        assert_eq!(shown.sqlstate(), fields.sqlstate());
    }
}

const LONG: usize = 16 * 1024;
/// With a sanitizer this is a hundred times what a scan takes, and a part of what
/// one takes that goes by the square.
const SLOW: Duration = Duration::from_millis(300);

/// A long cell of the same again and again, as in a denial of service.
fn repeated(mut input: Input<'_>) {
    let column = input.column();
    let (begin, end) = (usize::from(input.byte() & 15), usize::from(input.byte() & 15));
    let (begin, unit) = (input.piece(begin), input.0);
    let (unit, end) = unit.split_at(unit.len().saturating_sub(end));
    if unit.is_empty() {
        return;
    }
    let mut cell = begin.to_vec();
    cell.extend(unit.iter().cycle().take(LONG));
    cell.extend_from_slice(end);
    let mut found = Vec::new();
    let before = spent();
    content::scan(&cell, Demand::Check, &mut found);
    let scanned = spent() - before;
    assert!(scanned < SLOW, "the scan took {scanned:?}");
    let mut last = 0;
    for one in &found {
        assert!(one.start >= last && one.start < one.end && one.end <= cell.len());
        last = one.end;
    }
    let before = spent();
    let _ = Hand { key: HashKey::new(b"key"), unicode: false }.wrote(&cell);
    let told = spent() - before;
    assert!(told < SLOW, "to tell whether it is a mask's took {told:?}");
    let mut screen = screen(true);
    let plan = Plan::new([column].into(), Rules::default());
    let body = body_of(&[Some(&cell)]);
    let before = spent();
    let _ = screen.row(&plan, &body).map(drop);
    let masked = spent() - before;
    assert!(masked < SLOW, "the mask took {masked:?}");
}

/// This thread's own time: others on the machine don't count.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
