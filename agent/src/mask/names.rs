//! What a column holds, by what it is called: its own name, its table's, its
//! type's, its comment.
//!
//! A name is cut into words (`camelCase`, `snake_case`, run together), and words
//! that belong together are looked up together. What stands around them can
//! make them mean something else: `email_count` counts, `email_id` doesn't.
//!
//! INVARIANT: a name gives a class only where the column's type could hold it.

#[cfg(test)]
mod tests;
mod words;

use super::class::Class;
use words::Word;

/// What a column's type can hold, as far as names care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    Integer,
    Decimal,
    Bool,
    Date,
    Time,
    Network,
    Mac,
    Json,
    Bytes,
    Geometry,
    Uuid,
    /// Not known, or made of others.
    #[default]
    Other,
}

/// What is known of a column by word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    pub table: &'a str,
    pub column: &'a str,
    pub type_name: &'a str,
    pub comment: &'a str,
    pub kind: Kind,
}

/// What gave a column away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    Policy,
    Name,
    Type,
    Comment,
    /// Made of a column that has the class.
    Lineage,
    /// What its values look like.
    Content,
}

/// The class that a column's names give it.
pub fn classify(named: &Named<'_>) -> Option<(Class, Evidence)> {
    let table = split(named.table);
    if let Some(class) = of_server(&table, named) {
        return Some((class, Evidence::Name));
    }
    let column = split(named.column);
    if let Some(class) = of_words(&table, &column, named.kind) {
        return Some((class, Evidence::Name));
    }
    let by_type = match named.kind {
        Kind::Network => Some(Class::IpAddress),
        Kind::Mac => Some(Class::MacAddress),
        // A domain or type that somebody named `email`.
        _ if !named.type_name.is_empty() => {
            let words = split(named.type_name);
            of_words(&[], &words, named.kind).filter(|class| *class != Class::PersonName)
        }
        _ => None,
    };
    if let Some(class) = by_type {
        return Some((class, Evidence::Type));
    }
    let comment = split(named.comment);
    if named.comment.is_empty() || comment.len() > LONGEST_COMMENT || innocent(named.column) {
        return None;
    }
    of_words(&[], &comment, named.kind).map(|class| (class, Evidence::Comment))
}

/// Whether a name says that the column's numbers are of things, not of persons:
/// orders, versions, times.
pub fn innocent(column: &str) -> bool {
    split(column).iter().any(|word| matches!(words::word(word), Some(Word::Thing)))
}

/// A comment longer than this tells a story; words in it prove nothing.
const LONGEST_COMMENT: usize = 6;
/// Names longer than this aren't looked at any further.
const LONGEST_NAME: usize = 256;
/// So many words may belong together.
const MOST_TOGETHER: usize = 4;

fn of_words(table: &[String], column: &[String], kind: Kind) -> Option<Class> {
    let mut best: Option<(usize, Class)> = None;
    for start in 0..column.len() {
        for count in (1..=MOST_TOGETHER.min(column.len() - start)).rev() {
            let group = column.get(start..start + count).unwrap_or_default();
            let Some(class) = words::key(&group.concat()) else { continue };
            let (before, after) = (
                column.get(..start).unwrap_or_default(),
                column.get(start + count..).unwrap_or_default(),
            );
            let length: usize = group.iter().map(String::len).sum();
            let class = match class {
                words::Key::Is(class) => Some(class),
                words::Key::OfPerson(class) => is_of_person(table, before).then_some(class),
                words::Key::Pan => Some(match table.iter().any(|word| is_payment(word)) {
                    true => Class::CreditCard,
                    false => Class::InPan,
                }),
            };
            let Some(class) = class else { continue };
            let class = hashed(class, before, after);
            let turned = before.iter().any(|word| turns(word, class, true))
                || after
                    .iter()
                    .any(|word| turns(word, class, false) && !tolerates(class, kind, word));
            if !turned && fits(class, kind) && best.is_none_or(|(longest, _)| longest < length) {
                best = Some((length, class));
            }
            break;
        }
    }
    best.map(|(_, class)| class)
}

/// The server's own tables that hold other tables' values.
fn of_server(table: &[String], named: &Named<'_>) -> Option<Class> {
    let opaque = matches!(
        named.column,
        "most_common_vals"
            | "histogram_bounds"
            | "most_common_elems"
            | "range_bounds_histogram"
            | "most_common_base_freqs"
            | "stxdmcv"
            | "stxdexpr"
            | "umoptions"
            | "srvoptions"
    ) || named.column.starts_with("stavalues");
    let catalog = table.first().is_none_or(|word| word == "pg" || word.is_empty());
    if opaque && catalog {
        return Some(Class::Opaque);
    }
    matches!(named.column, "rolpassword").then_some(Class::PasswordHash)
}

/// `password_hash`, `hashed_password`, `passwd_salt`.
fn hashed(class: Class, before: &[String], after: &[String]) -> Class {
    let says = |words: &[String]| {
        words.iter().any(|word| {
            matches!(
                word.as_str(),
                "hash"
                    | "hashed"
                    | "digest"
                    | "encrypted"
                    | "salt"
                    | "crypted"
                    | "crypt"
                    | "bcrypt"
                    | "sha"
                    | "md5"
            )
        })
    };
    if class == Class::Password && (says(before) || says(after)) {
        return Class::PasswordHash;
    }
    class
}

/// Whether a word beside the key makes it mean something else.
fn turns(word: &str, class: Class, before: bool) -> bool {
    if class == Class::PasswordHash && matches!(word, "hash" | "digest" | "salt" | "sha" | "md5") {
        return false;
    }
    match words::word(word) {
        Some(Word::Turn) => true,
        Some(Word::TurnBefore) => before,
        Some(Word::TurnAfter) => !before,
        // `host_ip` is still one; `product_email` is somebody's.
        Some(Word::Thing) => {
            !before && !matches!(word, "code" | "number" | "no" | "nr" | "num" | "key")
                || before && matches!(class, Class::PersonName | Class::PostalAddress)
        }
        _ => false,
    }
}

/// `email_id` as text is an address; as a number it points to one.
fn tolerates(class: Class, kind: Kind, word: &str) -> bool {
    let text = matches!(kind, Kind::Text | Kind::Other);
    match class {
        Class::Email => word == "id" && text,
        Class::Passport | Class::DrivingLicence | Class::Username => word == "id" && text,
        Class::BirthDate => matches!(word, "date" | "on" | "at" | "time"),
        _ => false,
    }
}

fn is_payment(word: &str) -> bool {
    matches!(
        word,
        "card"
            | "cards"
            | "payment"
            | "payments"
            | "billing"
            | "transaction"
            | "transactions"
            | "checkout"
    )
}

/// `customer_name`; or `name` alone in a table of customers.
fn is_of_person(table: &[String], before: &[String]) -> bool {
    match before.last() {
        Some(last) => is_person(last) && !before.iter().any(|word| thing(word)),
        None => table.iter().any(|word| is_person(word)) && !table.iter().any(|word| thing(word)),
    }
}

fn thing(word: &str) -> bool {
    matches!(words::word(word), Some(Word::Thing | Word::Turn))
}

fn is_person(word: &str) -> bool {
    matches!(words::word(word), Some(Word::Person))
        || word.strip_suffix('s').is_some_and(|one| matches!(words::word(one), Some(Word::Person)))
}

/// Whether a type could hold values of a class.
fn fits(class: Class, kind: Kind) -> bool {
    use Class as C;
    match kind {
        Kind::Text | Kind::Other | Kind::Json => true,
        Kind::Bool => matches!(class, C::SpecialCategory | C::Diagnosis),
        Kind::Date | Kind::Time => class == C::BirthDate,
        Kind::Network => class == C::IpAddress,
        Kind::Mac => class == C::MacAddress,
        Kind::Geometry => matches!(class, C::GeoPosition | C::PostalAddress),
        Kind::Uuid => matches!(class, C::ApiKey | C::MedicalRecord | C::NationalId),
        Kind::Bytes => !matches!(class, C::BirthDate | C::GeoPosition),
        Kind::Decimal => {
            matches!(class, C::GeoPosition | C::Phone | C::BankAccount | C::RoutingNumber)
                || is_numeric(class)
        }
        Kind::Integer => {
            matches!(
                class,
                C::Phone
                    | C::BankAccount
                    | C::RoutingNumber
                    | C::BirthDate
                    | C::IpAddress
                    | C::MacAddress
                    | C::MedicalRecord
                    | C::Npi
                    | C::CardVerification
                    | C::DrivingLicence
                    | C::SpecialCategory
                    | C::Diagnosis
            ) || is_numeric(class)
        }
    }
}

/// Numbers of digits only.
fn is_numeric(class: Class) -> bool {
    use Class as C;
    matches!(
        class,
        C::UsSsn
            | C::UsItin
            | C::UkNhs
            | C::DeTaxId
            | C::FrNir
            | C::NlBsn
            | C::PlPesel
            | C::BeNrn
            | C::ChAhv
            | C::DkCpr
            | C::NoFnr
            | C::SePersonnummer
            | C::BrCpf
            | C::BrCnpj
            | C::InAadhaar
            | C::AuTfn
            | C::AuMedicare
            | C::CaSin
            | C::KrRrn
            | C::CnId
            | C::ZaId
            | C::NationalId
            | C::CreditCard
            | C::Passport
            | C::Opaque
    )
}

/// Cuts a name into words, in small letters without accents.
fn split(name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut last = ' ';
    let mut signs = name.chars().take(LONGEST_NAME).peekable();
    while let Some(sign) = signs.next() {
        let next = signs.peek().copied().unwrap_or(' ');
        let humps = last.is_lowercase() && sign.is_uppercase()
            || last.is_uppercase() && sign.is_uppercase() && next.is_lowercase();
        let digits = sign.is_ascii_digit() != last.is_ascii_digit() && last.is_alphanumeric();
        if !sign.is_alphanumeric() || humps || digits {
            push(&mut all, &mut word);
        }
        if sign.is_alphanumeric() {
            fold(sign, &mut word);
        }
        last = sign;
    }
    push(&mut all, &mut word);
    join_digits(all)
}

/// `ipv4`, `icd10`, `md5`: a number belongs to the word before it, where that
/// makes a word that is known.
fn join_digits(words: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        if word.bytes().all(|sign| sign.is_ascii_digit()) {
            if let Some(last) = all.last_mut() {
                let joined = format!("{last}{word}");
                if words::key(&joined).is_some() || words::word(&joined).is_some() {
                    *last = joined;
                }
            }
            // A number of its own says nothing.
            continue;
        }
        all.push(word);
    }
    all
}

fn push(all: &mut Vec<String>, word: &mut String) {
    if word.is_empty() {
        return;
    }
    let word = std::mem::take(word);
    match words::segment(&word) {
        Some(parts) => all.extend(parts.into_iter().map(str::to_owned)),
        None => all.push(word),
    }
}

/// In small letters, without what stands on and under them.
fn fold(sign: char, into: &mut String) {
    for sign in sign.to_lowercase() {
        let plain = match sign {
            'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ą' => "a",
            'ä' | 'æ' => "ae",
            'ç' | 'ć' | 'č' => "c",
            'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
            'ì' | 'í' | 'î' | 'ï' | 'ı' => "i",
            'ł' => "l",
            'ñ' | 'ń' | 'ň' => "n",
            'ò' | 'ó' | 'ô' | 'õ' => "o",
            'ö' | 'ø' | 'œ' => "oe",
            'ù' | 'ú' | 'û' | 'ů' => "u",
            'ü' => "ue",
            'ß' => "ss",
            'ś' | 'š' | 'ş' => "s",
            'ž' | 'ź' | 'ż' => "z",
            'ğ' => "g",
            'ý' => "y",
            'ř' => "r",
            'ť' => "t",
            'ď' | 'ð' => "d",
            // A mark on its own.
            '\u{300}'..='\u{36f}' => "",
            other => {
                into.push(other);
                continue;
            }
        };
        into.push_str(plain);
    }
}
