use super::*;
use crate::wire::postgres::testing::Dice;

fn classes(cell: &str) -> Vec<(Class, String)> {
    let mut found = Vec::new();
    scan(cell.as_bytes(), Demand::Check, &mut found);
    found
        .iter()
        .map(|one| {
            let span = &cell.as_bytes()[one.start..one.end];
            (one.class, String::from_utf8_lossy(span).into_owned())
        })
        .collect()
}

#[test]
fn what_is_sensitive_is_found_where_it_stands() {
    for (cell, class, span) in [
        ("jane.doe+x@mail.example.com", Class::Email, "jane.doe+x@mail.example.com"),
        ("write to <jörg@müller.de>.", Class::Email, "jörg@müller.de"),
        ("mailto=a@b.co", Class::Email, "a@b.co"),
        ("+49 30 901820", Class::Phone, "+49 30 901820"),
        ("call (415) 555-2671 now", Class::Phone, "(415) 555-2671"),
        ("415-555-2671", Class::Phone, "415-555-2671"),
        ("06 12 34 56 78", Class::Phone, "06 12 34 56 78"),
        ("4111 1111 1111 1111 12/26", Class::CreditCard, "4111 1111 1111 1111"),
        ("card 5555555555554444.", Class::CreditCard, "5555555555554444"),
        ("536-90-4399", Class::UsSsn, "536-90-4399"),
        ("912-70-1234", Class::UsItin, "912-70-1234"),
        ("DE89 3704 0044 0532 0130 00", Class::Iban, "DE89 3704 0044 0532 0130 00"),
        ("529.982.247-25", Class::BrCpf, "529.982.247-25"),
        ("11.222.333/0001-81", Class::BrCnpj, "11.222.333/0001-81"),
        ("AB 12 34 56 C", Class::UkNino, "AB 12 34 56 C"),
        ("131052-308T", Class::FiHetu, "131052-308T"),
        ("12345678-Z", Class::EsDni, "12345678-Z"),
        ("RSSMRA85T10A562S", Class::ItFiscalCode, "RSSMRA85T10A562S"),
        ("1 80 12 69 552 223 80", Class::FrNir, "1 80 12 69 552 223 80"),
        ("192.168.17.4", Class::IpAddress, "192.168.17.4"),
        ("from 10.20.30.40:5432", Class::IpAddress, "10.20.30.40:5432"),
        ("2001:db8::8a2e:370:7334", Class::IpAddress, "2001:db8::8a2e:370:7334"),
        ("aa:bb:cc:dd:ee:ff", Class::MacAddress, "aa:bb:cc:dd:ee:ff"),
        ("52.5200, 13.4050", Class::GeoPosition, "52.5200, 13.4050"),
        ("-33.8688,151.2093", Class::GeoPosition, "-33.8688,151.2093"),
        ("AKIAIOSFODNN7EXAMPLE", Class::ApiKey, "AKIAIOSFODNN7EXAMPLE"),
        ("postgres://app:hunter2@db/x", Class::ConnectionString, "hunter2"),
        ("host=db password=hunter2 port=1", Class::ConnectionString, "hunter2"),
        ("password=hunter2", Class::Password, "hunter2"),
    ] {
        assert_eq!(classes(cell), [(class, span.to_owned())], "{cell}");
    }
}

#[test]
fn what_only_looks_alike_is_left() {
    for cell in [
        "2024-05-06 07:08:09.123456+00",
        "2024-05-06T07:08:09Z",
        "06.05.2024 10:11",
        "12:34:56",
        "1714003200000",
        "20240506070809",
        "123456789",
        "987654321",
        "550e8400-e29b-41d4-a716-446655440000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ORD-2024-000123",
        "INV 2024 0001",
        "1.2.3.4",
        "v10.4.12.1",
        "12345678.90",
        "0.123456789012",
        "94103-1234",
        "SW1A 1AA",
        "user_email_count",
        "std::vec::Vec",
        "https://example.com/a/b?c=d",
        "password: see below",
        "978-3-16-148410-0",
        "@mention",
        "a@b",
        "$12.50",
    ] {
        assert_eq!(classes(cell), [], "{cell}");
    }
}

/// The gate must never be the reason that something isn't found.
#[test]
fn the_gate_lets_everything_through_that_a_scanner_finds() {
    let seeds = [
        "jane@doe.com",
        "+49 30 901820",
        "(415) 555-2671",
        "4111 1111 1111 1111",
        "536-90-4399",
        "DE89370400440532013000",
        "529.982.247-25",
        "AB123456C",
        "131052-308T",
        "12345678Z",
        "ABCPE1234F",
        "192.168.17.4",
        "fe80::1",
        "aa-bb-cc-dd-ee-ff",
        "52.520,13.405",
        "AKIAIOSFODNN7EXAMPLE",
        "postgres://a:b@c",
        "password=abc",
        "$2b$12$",
        "{SSHA}abc",
        "-----BEGIN PRIVATE KEY-----",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        " ",
        "-",
        "::",
        "x",
        "aabb.ccdd.eeff",
        "1",
        "pwd:Hunter22",
    ];
    let mut dice = Dice::new(11);
    let mut hits = 0;
    for _ in 0..30_000 {
        let mut cell = Vec::new();
        for _ in 0..1 + dice.below(4) {
            cell.extend_from_slice(seeds[dice.below(seeds.len())].as_bytes());
        }
        for _ in 0..dice.below(3) {
            let place = dice.below(cell.len());
            cell[place] = (32 + dice.below(95)) as u8;
        }
        let cut = dice.below(cell.len());
        let cell = &cell[cut..];
        let gate = Gate::of(cell);
        type Scanner = fn(&[u8], &mut Vec<Found>);
        let scanners: [(&str, bool, Scanner); 5] = [
            ("secrets", gate.secrets(), secrets::scan),
            ("mail", gate.mail(), mail::scan),
            ("network", gate.network(), network::scan),
            ("numbers", gate.numbers(), |cell, found| numbers::scan(cell, Demand::Check, found)),
            ("alnum", gate.alnum(), alnum::scan),
        ];
        for (name, open, scanner) in scanners {
            let mut found = Vec::new();
            scanner(cell, &mut found);
            hits += usize::from(!found.is_empty());
            assert!(
                open || found.is_empty(),
                "{name}: {:?} in {:?}",
                found,
                String::from_utf8_lossy(cell)
            );
        }
    }
    assert!(hits > 4_000, "only {hits} hits: this test tests nothing");
}

#[test]
fn spans_are_in_order_and_within_the_cell() {
    let mut dice = Dice::new(3);
    let mut found = Vec::new();
    let signs = b"0123456789 -.:@/+()=$abcefxyzABDEFKS_\"'{}\xc3\xa9\xa0\xc2";
    for _ in 0..30_000 {
        let cell: Vec<u8> = (0..dice.below(80)).map(|_| signs[dice.below(signs.len())]).collect();
        scan(&cell, Demand::Check, &mut found);
        let mut floor = 0;
        for one in &found {
            assert!(one.start >= floor && one.end > one.start && one.end <= cell.len());
            floor = one.end;
        }
    }
}

/// This thread's own time: the machine may have other work.
fn cpu_time() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Twice the input takes about twice the time, whatever is in it.
#[test]
fn no_input_is_slower_than_linear() {
    for unit in [
        "1 ",
        "1.",
        "a@",
        "a@b.",
        "password=",
        "password=$",
        "pwd:",
        "://a:b",
        "-",
        "-----BEGIN ",
        "$2a$",
        "eyJ.",
        "a_",
        "(1)",
        "::",
        "1:",
        "A1",
        "AB 12 ",
        "1-",
        "{",
        "a.",
        "=",
        "+1(",
        "0.1,",
        "ghp_",
        "aa-bb-",
    ] {
        let took = |times: usize| {
            let cell = unit.repeat(times);
            let mut found = Vec::new();
            (0..3)
                .map(|_| {
                    let begun = cpu_time();
                    scan(cell.as_bytes(), Demand::Check, &mut found);
                    cpu_time() - begun
                })
                .min()
                .unwrap()
        };
        let (short, long) = (took(500), took(8_000));
        assert!(
            long < short * 64 + std::time::Duration::from_millis(20),
            "{unit:?}: {short:?} for one, {long:?} for sixteen times as much"
        );
    }
}
