//! Numbers: cards, phones, and what states give their people. A number is told
//! by how its digits are grouped, then by its check.

mod parts;

use super::edge::{self, Edge};
use super::{Demand, Found, before};
use crate::mask::checks;
use crate::mask::class::Class;

/// The least digits of anything that is told by its digits.
pub(super) const LEAST_DIGITS: usize = 8;
/// What may stand between digits of the same thing, at most.
pub(super) const WIDEST_GAP: usize = 4;

/// Whether a sign may be among what stands between them.
#[inline]
pub(super) fn is_joint(sign: &u8) -> bool {
    const JOINTS: [bool; 256] = {
        let mut joints = [false; 256];
        let mut rest: &[u8] = b" -./(),;%+\xc2\xe2";
        while let [sign, others @ ..] = rest {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                joints[*sign as usize] = true;
            }
            rest = others;
        }
        let mut sign = 0x80;
        while sign < 0xb0 {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                joints[sign] = true;
            }
            sign += 1;
        }
        joints
    };
    JOINTS.get(usize::from(*sign)).is_some_and(|is| *is)
}

const MOST_DIGITS: usize = 40;
const MOST_GROUPS: usize = 12;
/// Groups of one thing, at most.
const LONGEST_FORM: usize = 7;
/// A group with more digits is nothing, and part of nothing.
const LONGEST_GROUP: usize = 19;

/// Digits of a number, or of some that stand close together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cluster {
    pub start: usize,
    pub end: usize,
    pub digits: usize,
}

impl Cluster {
    fn is_bare(&self) -> bool {
        self.digits == self.end - self.start
    }
}

/// How many digits a number has that has no form; two more may be an escape's.
const BARE: std::ops::RangeInclusive<usize> = 11..=20;

/// Digits with what stands between them.
#[derive(Clone, Copy, Debug)]
struct Number {
    start: usize,
    end: usize,
    digits: [u8; MOST_DIGITS],
    count: usize,
    groups: [u8; MOST_GROUPS],
    places: [usize; MOST_GROUPS],
    between: [u8; MOST_GROUPS],
    group_count: usize,
    plus: bool,
    bracket: bool,
    /// It goes on behind what was read.
    over: bool,
}

/// Whether any number may be among digits.
#[inline]
pub(super) fn may_be(cell: &[u8], cluster: Cluster) -> bool {
    cluster.digits >= LEAST_DIGITS
        && (!cluster.is_bare()
            || BARE.contains(&cluster.digits)
            || before(cell, cluster.start) == Some(b'+'))
}

/// The numbers among digits beyond which no number can go on.
pub(super) fn scan(cell: &[u8], cluster: Cluster, demand: Demand, found: &mut Vec<Found>) {
    let mut place = cluster.start;
    let mut lead = parts::Lead::default();
    while cluster.end.saturating_sub(place) >= LEAST_DIGITS {
        if !cell.get(place).is_some_and(u8::is_ascii_digit) {
            place += 1;
            continue;
        }
        let number = read(cell, place);
        if !lead.goes_on
            && !number.over
            && let Some(here) = number.whole(cell, demand)
        {
            place = here.end;
            found.push(here);
            continue;
        }
        let last = found.len();
        place = number.parts(cell, demand, &mut lead, found);
        let escape = edge::escaped(cell, number.start);
        let first = usize::from(number.groups.first().copied().unwrap_or_default());
        if escape > 0 && found.len() == last && first > escape {
            // What an escape before it took from it.
            let number = read(cell, number.start + escape);
            match number.whole(cell, demand) {
                Some(here) => {
                    place = place.max(here.end);
                    found.push(here);
                }
                None => {
                    number.parts(cell, demand, &mut parts::Lead::default(), found);
                }
            }
        }
    }
}

/// Reads from the first digit on.
fn read(cell: &[u8], first: usize) -> Number {
    let mut number = Number {
        start: first,
        end: first,
        digits: [0; MOST_DIGITS],
        count: 0,
        groups: [0; MOST_GROUPS],
        places: [0; MOST_GROUPS],
        between: [0; MOST_GROUPS],
        group_count: 0,
        plus: false,
        bracket: false,
        over: false,
    };
    // `+49 …`, `(0)30 …`
    let mut start = first;
    if before(cell, start) == Some(b'(') {
        number.bracket = true;
        start -= 1;
    }
    if before(cell, start) == Some(b'+') {
        number.plus = true;
        start -= 1;
    }
    number.start = start;
    let (mut place, mut fours) = (first, true);
    loop {
        let run = cell.get(place..).unwrap_or_default();
        let length = run.iter().take_while(|sign| sign.is_ascii_digit()).count();
        let (Some(group), Some(begin)) =
            (number.groups.get_mut(number.group_count), number.places.get_mut(number.group_count))
        else {
            number.over = true;
            break;
        };
        let room = number.digits.get_mut(number.count..number.count + length);
        let Some(room) = room.filter(|_| length <= LONGEST_GROUP) else {
            // The first is passed, others begin anew.
            number.over = true;
            number.end = number.end.max(if number.group_count == 0 { place + length } else { 0 });
            break;
        };
        room.iter_mut().zip(run).for_each(|(to, sign)| *to = sign - b'0');
        *group = length as u8;
        *begin = place;
        fours &= length == 4;
        number.count += length;
        number.group_count += 1;
        place += length;
        number.end = place;
        let rest = cell.get(place..).unwrap_or_default();
        let (sign, taken) = match (edge::joint(rest), rest) {
            (Some(joint), _) => joint,
            // A dash with its spaces.
            (_, [b' ', b'-', b' ', digit, ..])
                if digit.is_ascii_digit() && (number.count < 12 || fours) =>
            {
                (b'-', 3)
            }
            _ => match edge::wide_joint(rest).filter(|_| fours) {
                Some(taken) => (WIDE, taken),
                None => break,
            },
        };
        if sign == b' ' && number.is_complete() {
            break;
        }
        if sign == b'(' || sign == b')' {
            number.bracket = true;
        }
        if let Some(between) = number.between.get_mut(number.group_count - 1) {
            *between = sign;
        }
        place += taken;
    }
    if number.bracket && cell.get(number.end) == Some(&b')') && number.group_count == 1 {
        // Brackets around the whole of it.
        number.start = first;
        number.bracket = false;
    }
    number
}

/// What stands between groups of four and nothing else.
const WIDE: u8 = b'_';

/// The digits behind a decimal point, `0.4532…`; behind a word's, `Nr.4532…`, none are.
fn is_behind_point(cell: &[u8], place: usize) -> bool {
    match cell.get(..place).unwrap_or_default() {
        [.., sign, b'.'] => !(sign.is_ascii_alphabetic() || *sign >= 0x80),
        head => head.ends_with(b"."),
    }
}

/// `x123`, `ext.5` behind a phone's number.
fn has_extension(cell: &[u8], end: usize) -> bool {
    let tail = cell.get(end..).unwrap_or_default();
    let digits = match tail {
        [b'x' | b'X', digits @ ..] => digits,
        [b'e' | b'E', b'x', b't', b'.' | b' ', digits @ ..] => digits,
        [b'e' | b'E', b'x', b't', digits @ ..] => digits,
        _ => return false,
    };
    let count = digits.iter().take(8).take_while(|sign| sign.is_ascii_digit()).count();
    (1..=6).contains(&count) && Edge::after(digits, count) == Edge::Open
}

/// Two decimals that may be a latitude and a longitude.
fn position(cell: &[u8], first: &Number) -> Option<Found> {
    if first.group_count != 2 || first.between.first() != Some(&b'.') || first.plus {
        return None;
    }
    let rest = cell.get(first.end..)?;
    let gap = rest.iter().take_while(|sign| matches!(sign, b',' | b' ' | b';' | b'-')).count();
    if !(1..=WIDEST_GAP).contains(&gap) || rest.get(gap)?.is_ascii_digit().then_some(()).is_none() {
        return None;
    }
    let second = read(cell, first.end + gap);
    let decimals = |number: &Number| {
        number.group_count == 2
            && number.between.first() == Some(&b'.')
            && number.groups.get(1).is_some_and(|count| *count >= 3)
    };
    let degrees = |number: &Number| {
        let whole = usize::from(number.groups.first().copied().unwrap_or_default());
        (1..=3).contains(&whole).then(|| {
            number
                .digits
                .get(..whole)
                .unwrap_or_default()
                .iter()
                .fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit))
        })
    };
    let (one, two) = (degrees(first)?, degrees(&second)?);
    let tail = cell.get(second.end..).unwrap_or_default();
    let more = match tail {
        [b',', b' ', sign, ..] | [b',', sign, ..] => sign.is_ascii_digit() || *sign == b'-',
        _ => false,
    };
    let whole = !more && Edge::after(cell, second.end) == Edge::Open;
    (decimals(first) && decimals(&second) && whole && one.min(two) <= 90 && one.max(two) <= 180)
        .then(|| {
            let minus = usize::from(before(cell, first.start) == Some(b'-'));
            let (start, end) = (first.start - minus, second.end);
            Found { start, end, class: Class::GeoPosition }
        })
}

impl Number {
    /// Whether a space after this ends the number: what has its own joints, or
    /// is long, has none.
    fn is_complete(&self) -> bool {
        let between = self.between();
        let last = self.groups().last().copied().unwrap_or_default();
        let jointed = between.len() >= 2 && !between.iter().any(|sign| b" ()".contains(sign));
        let decimal = matches!(between, [b'.']);
        last >= 8 || (!self.plus && !self.bracket && jointed) || decimal
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.count).unwrap_or_default()
    }

    fn groups(&self) -> &[u8] {
        self.groups.get(..self.group_count).unwrap_or_default()
    }

    fn between(&self) -> &[u8] {
        self.between.get(..self.group_count.saturating_sub(1)).unwrap_or_default()
    }

    /// The one sign that stands between all groups.
    fn separator(&self) -> Option<u8> {
        let between = self.between();
        let first = between.first()?;
        between.iter().all(|sign| sign == first).then_some(*first)
    }

    /// All of it, where nothing else goes on before or behind it.
    fn whole(&self, cell: &[u8], demand: Demand) -> Option<Found> {
        let edges = (Edge::before(cell, self.start), Edge::after(cell, self.end));
        if edges == (Edge::Open, Edge::Open)
            && let Some(position) = position(cell, self)
        {
            return Some(position);
        }
        if self.count < LEAST_DIGITS || self.is_fraction(cell) {
            return None;
        }
        let class = self.class(demand)?;
        let fits = match edges {
            (Edge::Open, Edge::Open) => true,
            (Edge::Open, _) if class == Class::Phone && has_extension(cell, self.end) => true,
            (Edge::More, _) | (_, Edge::More) => false,
            // `Tel+49…`, `card4532…`, `4532…EUR`
            _ => self.plus && self.count >= 10 || Self::is_proven(class),
        };
        if !fits && self.plus {
            // A space, as forms have it: `q=my+536-90-4399`.
            let first = self.places.first().copied()?;
            let bare = Self { plus: false, start: first, ..*self };
            let class = bare.grouped().filter(|_| edges.1 == Edge::Open)?;
            return Some(Found { start: first, end: self.end, class });
        }
        fits.then_some(Found { start: self.start, end: self.end, class })
    }

    /// Whether its check and form speak for it with letters directly beside it.
    fn is_proven(class: Class) -> bool {
        matches!(
            class,
            Class::CreditCard
                | Class::BrCpf
                | Class::BrCnpj
                | Class::NoFnr
                | Class::BeNrn
                | Class::ChAhv
                | Class::FrNir
                | Class::CnId
                | Class::DeTaxId
        )
    }

    /// `0.123456789012`, `-12.5`: what is counted, not what is given.
    fn is_fraction(&self, cell: &[u8]) -> bool {
        let decimal = self.group_count == 2 && self.between.first() == Some(&b'.');
        let last = self.groups().last().copied().unwrap_or_default();
        let clock = last <= 2
            && matches!(cell.get(self.end..), Some([b':', digit, ..]) if digit.is_ascii_digit());
        let minus = matches!(cell.get(..self.start), Some([b'-'])) && !self.is_long();
        minus || decimal || clock || is_behind_point(cell, self.start)
    }

    /// As long as what has a card's number, and nothing that is counted.
    fn is_long(&self) -> bool {
        self.count >= 15
    }

    fn class(&self, demand: Demand) -> Option<Class> {
        match self.plus {
            true => self.phone(),
            false if self.group_count == 1 => self.bare(demand),
            false => self
                .grouped()
                .or_else(|| self.phone())
                .filter(|class| *class != Class::Phone || !self.between().contains(&WIDE)),
        }
    }

    /// Digits without any form: only their check speaks for them.
    fn bare(&self, demand: Demand) -> Option<Class> {
        let digits = self.digits();
        if demand == Demand::Form {
            return None;
        }
        match digits.len() {
            11 if checks::br_cpf(digits) => Some(Class::BrCpf),
            11 if checks::no_fnr(digits) => Some(Class::NoFnr),
            11 if checks::be_nrn(digits) => Some(Class::BeNrn),
            11 if checks::pl_pesel(digits) => Some(Class::PlPesel),
            11 if checks::de_tax_id(digits) => Some(Class::DeTaxId),
            13 if checks::ch_ahv(digits) => Some(Class::ChAhv),
            13 if checks::za_id(digits) => Some(Class::ZaId),
            14 if is_clock(digits) => None,
            14 if checks::br_cnpj(digits) => Some(Class::BrCnpj),
            15 if checks::fr_nir(&self.signs()) => Some(Class::FrNir),
            18 if checks::cn_id(&self.signs()) => Some(Class::CnId),
            14..=16 if checks::card(digits) => Some(Class::CreditCard),
            _ => None,
        }
    }

    fn grouped(&self) -> Option<Class> {
        let digits = self.digits();
        let one = self.separator();
        let plain = matches!(one, Some(b' ' | b'-'));
        match self.groups() {
            [4, 4, 4, 4] if one.is_some() && checks::card(digits) => Some(Class::CreditCard),
            [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 1] if plain && checks::card(digits) => {
                Some(Class::CreditCard)
            }
            [3, 2, 4] if plain && checks::us_ssn(digits) => Some(Class::UsSsn),
            [3, 2, 4] if plain && checks::us_itin(digits) => Some(Class::UsItin),
            [4, 4, 4] if plain && checks::in_aadhaar(digits) && !are_years(digits) => {
                Some(Class::InAadhaar)
            }
            [3, 3, 4] if one == Some(b' ') && checks::uk_nhs(digits) => Some(Class::UkNhs),
            [3, 3, 4] if one == Some(b'-') && checks::uk_nhs(digits) && !north_american(digits) => {
                Some(Class::UkNhs)
            }
            [3, 3, 3] if plain && checks::ca_sin(digits) => Some(Class::CaSin),
            [3, 3, 3] if one == Some(b' ') && checks::au_tfn(digits) => Some(Class::AuTfn),
            [4, 5, 1] if plain && checks::au_medicare(digits) => Some(Class::AuMedicare),
            [3, 3, 3, 2] if checks::br_cpf(digits) => Some(Class::BrCpf),
            [2, 3, 3, 4, 2] if checks::br_cnpj(digits) => Some(Class::BrCnpj),
            [2, 3, 3, 3] if one == Some(b' ') && checks::de_tax_id(digits) => Some(Class::DeTaxId),
            [2, 2, 2, 3, 2] | [6, 3, 2] if checks::be_nrn(digits) => Some(Class::BeNrn),
            [3, 4, 4, 2] if checks::ch_ahv(digits) => Some(Class::ChAhv),
            [6, 5] if checks::no_fnr(digits) => Some(Class::NoFnr),
            [6, 4] if one == Some(b'-') && self.is_hetu() => Some(Class::FiHetu),
            [6, 4] if one == Some(b'-') && checks::se_personnummer(digits) => {
                Some(Class::SePersonnummer)
            }
            [8, 4]
                if one == Some(b'-')
                    && digits.get(2..).is_some_and(checks::se_personnummer)
                    && matches!(digits, [1, 8 | 9, ..] | [2, 0, ..]) =>
            {
                Some(Class::SePersonnummer)
            }
            [6, 4] if one == Some(b'-') && checks::dk_cpr(digits) => Some(Class::DkCpr),
            [6, 7] if one == Some(b'-') && checks::kr_rrn(digits) => Some(Class::KrRrn),
            [6, 4, 2, 1] | [6, 4, 3] if plain && checks::za_id(digits) => Some(Class::ZaId),
            [1, 2, 2, 2, 3, 3, 2] | [13, 2] if checks::fr_nir(&self.signs()) => Some(Class::FrNir),
            _ => None,
        }
    }

    /// A Finnish one whose check is a digit too.
    fn is_hetu(&self) -> bool {
        let mut text = self.signs();
        text.insert(6.min(text.len()), b'-');
        checks::fi_hetu(&text)
    }

    fn phone(&self) -> Option<Class> {
        let digits = self.digits();
        let groups = self.groups();
        let lengths = (8..=15).contains(&digits.len());
        let slash = self.between().iter().filter(|sign| **sign == b'/').count();
        let is = if self.plus {
            // No country's code begins with 0; a fraction isn't a number.
            lengths && digits.first() != Some(&0) && slash == 0 && groups.len() <= 7
        } else if is_date(groups, self.between()) {
            false
        } else {
            let leads = digits.first() == Some(&0) && digits.get(1) != Some(&0);
            let abroad = digits.starts_with(&[0, 0]) && digits.get(2) != Some(&0);
            // A postal code with its addition, two numbers with a dash.
            if matches!(groups, [first, _] if *first >= 5) && self.separator() == Some(b'-') {
                return None;
            }
            let pairs =
                matches!(groups, [2, 2, 2, 2, 2] | [2, 3, 2, 2] | [4, 2, 2, 2] | [3, 2, 2, 2]);
            let formed = match groups {
                [3, 3, 4] => north_american(digits) && slash == 0,
                [1, 3, 3, 4] => {
                    digits.first() == Some(&1) && digits.get(1..).is_some_and(north_american)
                }
                _ if abroad => (11..=15).contains(&digits.len()) && (2..=7).contains(&groups.len()),
                _ if self.bracket => (9..=13).contains(&digits.len()) && groups.len() <= 5,
                [2 | 3, ..] if pairs && leads => true,
                [first, ..] => {
                    leads
                        && (2..=5).contains(first)
                        && (2..=4).contains(&groups.len())
                        && (9..=12).contains(&digits.len())
                        && slash <= 1
                        && !self.between().contains(&b'.')
                }
                [] => false,
            };
            // Where numbers begin without a 0: Spain, Portugal, Poland.
            let nine = digits.len() == 9
                && matches!(groups, [3, 3, 3] | [3, 2, 2, 2])
                && self.separator() == Some(b' ')
                && matches!(digits.first(), Some(6 | 7 | 9));
            formed || nine
        };
        is.then_some(Class::Phone)
    }

    fn signs(&self) -> Vec<u8> {
        self.digits().iter().map(|digit| digit + b'0').collect()
    }
}

/// `2014 1981 1994`
fn are_years(digits: &[u8]) -> bool {
    digits.chunks(4).all(|year| matches!(year, [1, 9, ..] | [2, 0, ..]))
}

/// Area and exchange begin with 2 to 9, and the area isn't a service's.
fn north_american(digits: &[u8]) -> bool {
    let digit = |place: usize| digits.get(place).copied().unwrap_or_default();
    digits.len() == 10 && digit(0) >= 2 && digit(3) >= 2 && !(digit(1) == 1 && digit(2) == 1)
}

/// `20240506070809`
fn is_clock(digits: &[u8]) -> bool {
    matches!(
        digits,
        [1, 9, _, _, 0 | 1, _, 0..=3, _, 0..=2, _, 0..=5, _, 0..=5, _]
            | [2, 0, _, _, 0 | 1, _, 0..=3, _, 0..=2, _, 0..=5, _, 0..=5, _]
    )
}

/// A date at the head: `2024-05-06 07`, `06.05.2024`.
fn is_date(groups: &[u8], between: &[u8]) -> bool {
    match (groups, between) {
        ([4, 2, 2, ..] | [4, 1 | 2, 1 | 2, ..], [one, two, ..]) => {
            one == two && matches!(one, b'-' | b'.' | b'/')
        }
        ([1 | 2, 1 | 2, 4, ..], [one, two, ..]) => one == two && matches!(one, b'-' | b'.' | b'/'),
        _ => false,
    }
}
