//! Any bytes in any type, in either format, by any mask, give a row that can be
//! read again and has as many columns.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::mask::class::Class;
use tidegate::mask::content::Demand;
use tidegate::mask::postgres::cell::Rules;
use tidegate::mask::postgres::copy::{CopyScreen, CopyStyle};
use tidegate::mask::postgres::form::Form;
use tidegate::mask::postgres::plan::{ColumnPlan, Treatment};
use tidegate::mask::{Hand, HashKey, Mask, Plan, Screen, Screening};
use tidegate::wire::limits::Limits;
use tidegate::wire::postgres::Backend;

const TYPES: [u32; 44] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 600, 602, 604, 650, 700, 701, 774, 790, 829, 869,
    1000, 1009, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1231, 1266, 1560, 1700, 2249, 2277, 2287,
    2950, 3614, 3802, 3807, 3904, 4451, 0,
];

fuzz_target!(|data: &[u8]| {
    let Some((&[kind, class, how, style], value)) = data.split_first_chunk() else { return };
    let form = Form::of_base(TYPES[usize::from(kind) % TYPES.len()], i32::from(how))
        .unwrap_or(Form::Unknown);
    let treatment = match how & 3 {
        0 => Treatment::Scan(Demand::Check),
        1 => Treatment::Literals,
        _ => Treatment::Mask {
            class: Class::ALL[usize::from(class) % Class::COUNT],
            mask: Mask::ALL[usize::from(class) / 8 % Mask::ALL.len()],
            derived: how & 4 != 0,
        },
    };
    let column = ColumnPlan { form, binary: how & 8 != 0, treatment };
    let plan = Plan::new([column].into(), Rules::default());
    let mut screen = Screen::new(Hand { key: HashKey::new(b"key"), unicode: how & 16 != 0 });
    let mut body = vec![0, 1];
    body.extend_from_slice(&(value.len() as u32).to_be_bytes());
    body.extend_from_slice(value);
    if let Screening::Made(made) = screen.row(&plan, &body).expect("a whole row is refused") {
        let row = Backend::decode(b'D', &made.bytes()[5..], &Limits::default());
        let Ok(Backend::DataRow(values)) = row else { panic!("not a row") };
        assert_eq!(values.len(), 1);
    }
    let mut copy = CopyScreen::new(match style & 3 {
        0 => CopyStyle::text(),
        1 => CopyStyle::csv(),
        2 => CopyStyle::Binary,
        _ => CopyStyle::Lines,
    });
    let (one, two) = value.split_at(value.len() / 2);
    if copy.data(&mut screen, &plan, one, false).is_ok()
        && copy.data(&mut screen, &plan, two, false).is_ok()
    {
        let _ = copy.end(&mut screen, &plan);
    }
});
