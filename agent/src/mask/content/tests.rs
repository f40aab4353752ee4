use super::signs::Signs;
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
fn what_goes_on_behind_an_address_of_mail_hides_none() {
    for behind in ["...thanks", "-2024", "-x", "_x", ".2 people", "1", ".", "..", "-"] {
        let cell = format!("to jane@mail.example{behind}");
        let found = classes(&cell);
        assert_eq!(found, [(Class::Email, "jane@mail.example".to_owned())], "{cell}");
    }
    assert_eq!(classes("git@mail.example: jane").len(), 1);
    assert_eq!(classes("from ::ffff:203.0.113.77").len(), 1);
    for cell in ["a@b", "pkg@1.2.3", "a@b.c1", "a@..example", "a@.example", "a@-b.example"] {
        assert_eq!(classes(cell), [], "{cell}");
    }
}

#[test]
fn what_stands_beside_it_hides_nothing() {
    let card = |cell: &str| (cell.to_owned(), Class::CreditCard, "4532015112830366");
    let cards = [
        "1 4532015112830366",
        "4532015112830366.00",
        "4532015112830366.0",
        "-4532015112830366",
        "+4532015112830366",
        "card4532015112830366",
        "card_4532015112830366_x",
        "4532015112830366EUR",
        "Nr.4532015112830366",
        "4532015112830366-01",
        "12-4532015112830366",
        "4532015112830366:12/26:123",
        "„4532015112830366“",
        "卡号4532015112830366号",
        "№4532015112830366",
        "Karte\u{a0}4532015112830366",
        "card%204532015112830366",
        "card%3D4532015112830366",
        "card=3D4532015112830366",
        "card\\n4532015112830366",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4532015112830366",
        "my+card+4532015112830366",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 4532015112830366 14 15",
    ];
    let grouped = [
        ("order #5 4532 0151 1283 0366", "4532 0151 1283 0366"),
        ("v1 4532 0151 1283 0366", "4532 0151 1283 0366"),
        ("1234 4532 0151 1283 0366 1225", "4532 0151 1283 0366"),
        ("4532 0151 1283 0366-01", "4532 0151 1283 0366"),
        ("4532 0151 1283 0366/12", "4532 0151 1283 0366"),
        ("Visa4532-0151-1283-0366", "4532-0151-1283-0366"),
        ("4532.0151.1283.0366", "4532.0151.1283.0366"),
        ("4532 - 0151 - 1283 - 0366", "4532 - 0151 - 1283 - 0366"),
        ("4532  0151  1283  0366", "4532  0151  1283  0366"),
        ("4532\u{202f}0151\u{202f}1283\u{202f}0366", "4532\u{202f}0151\u{202f}1283\u{202f}0366"),
        ("4532–0151–1283–0366", "4532–0151–1283–0366"),
        ("x=4532%200151%201283%200366", "4532%200151%201283%200366"),
        ("my+card+4532+0151+1283+0366", "4532+0151+1283+0366"),
        ("12 3714 496353 98431 7", "3714 496353 98431"),
    ];
    let others = [
        ("room 5 536-90-4399", Class::UsSsn, "536-90-4399"),
        ("12 529.982.247-25", Class::BrCpf, "529.982.247-25"),
        ("CPF529.982.247-25", Class::BrCpf, "529.982.247-25"),
        ("CPF52998224725", Class::BrCpf, "52998224725"),
        ("2 1 80 12 69 552 223 80", Class::FrNir, "1 80 12 69 552 223 80"),
        ("5 756 9217 0769 85", Class::ChAhv, "756 9217 0769 85"),
        ("5 415-555-2671", Class::Phone, "415-555-2671"),
        ("1 2 3 4 5 6 7 8 9 10 11 12 415-555-2671", Class::Phone, "415-555-2671"),
        ("call\\n415-555-2671", Class::Phone, "415-555-2671"),
        ("%3DGB82WEST12345698765432", Class::Iban, "GB82WEST12345698765432"),
        ("Tel+49 30 901820", Class::Phone, "+49 30 901820"),
        ("Tel.030 1234567", Class::Phone, "030 1234567"),
        ("电话+86 138 1234 5678", Class::Phone, "+86 138 1234 5678"),
        ("(415) 555-2671x123", Class::Phone, "(415) 555-2671"),
        ("415-555-2671ext.5", Class::Phone, "415-555-2671"),
        ("5 52.5200, 13.4050", Class::GeoPosition, "52.5200, 13.4050"),
        ("5 (415) 555-2671", Class::Phone, "415) 555-2671"),
        ("+61 3 3900 7621 2024-05-06", Class::Phone, "+61 3 3900 7621"),
        ("q=my+536-90-4399", Class::UsSsn, "536-90-4399"),
        ("a%20536-90-4399", Class::UsSsn, "536-90-4399"),
        ("a%2012345678Z", Class::EsDni, "12345678Z"),
        ("a\\n12345678Z", Class::EsDni, "12345678Z"),
        ("12345678Z/b", Class::EsDni, "12345678Z"),
        ("RSSMRA85T10A562S-b", Class::ItFiscalCode, "RSSMRA85T10A562S"),
        ("ip%3D192.168.17.4", Class::IpAddress, "192.168.17.4"),
        ("at 10:192.168.17.4", Class::IpAddress, "192.168.17.4"),
        ("mac%20aa:bb:cc:dd:ee:ff", Class::MacAddress, "aa:bb:cc:dd:ee:ff"),
        ("a%2052.5200,13.4050", Class::GeoPosition, "52.5200,13.4050"),
        ("„52.5200, 13.4050“", Class::GeoPosition, "52.5200, 13.4050"),
        ("52.5200, 13.4050, Berlin", Class::GeoPosition, "52.5200, 13.4050"),
        (
            "a%20{SSHA}0123456789012345678901234567890",
            Class::PasswordHash,
            "{SSHA}0123456789012345678901234567890",
        ),
        ("Konto/DE89370400440532013000", Class::Iban, "DE89370400440532013000"),
        ("x.DE89370400440532013000", Class::Iban, "DE89370400440532013000"),
        ("DE89370400440532013000EUR", Class::Iban, "DE89370400440532013000"),
        ("IBANDE89370400440532013000", Class::Iban, "DE89370400440532013000"),
        ("iban_de89370400440532013000", Class::Iban, "de89370400440532013000"),
        ("账户DE89370400440532013000号", Class::Iban, "DE89370400440532013000"),
        ("%3DDE89370400440532013000", Class::Iban, "DE89370400440532013000"),
        ("at IBAN:DE89 3704 0044 0532 0130 00EUR", Class::Iban, "DE89 3704 0044 0532 0130 00"),
        ("DE89.3704.0044.0532.0130.00", Class::Iban, "DE89.3704.0044.0532.0130.00"),
        (
            "DE89%203704%200044%200532%200130%2000",
            Class::Iban,
            "DE89%203704%200044%200532%200130%2000",
        ),
        ("GB82_WEST_1234_5698_7654_32", Class::Iban, "GB82_WEST_1234_5698_7654_32"),
        ("DNI/12345678Z", Class::EsDni, "12345678Z"),
        ("dni_12345678Z", Class::EsDni, "12345678Z"),
        ("CF-RSSMRA85T10A562S", Class::ItFiscalCode, "RSSMRA85T10A562S"),
        ("身份证11010519491231002X", Class::CnId, "11010519491231002X"),
        ("?m=jane%40mail.example&x=1", Class::Email, "jane%40mail.example"),
        ("jane%2540mail.example", Class::Email, "jane%2540mail.example"),
        ("jane=40mail.example", Class::Email, "jane=40mail.example"),
        ("jane&#64;mail.example", Class::Email, "jane&#64;mail.example"),
        ("jane&#x40;mail.example", Class::Email, "jane&#x40;mail.example"),
        ("jane\\u0040mail.example", Class::Email, "jane\\u0040mail.example"),
        ("to \"jane doe\"@mail.example", Class::Email, "\"jane doe\"@mail.example"),
        ("ip:192.168.17.4", Class::IpAddress, "192.168.17.4"),
        ("ip_192.168.17.4", Class::IpAddress, "192.168.17.4"),
        ("地址192.168.17.4。", Class::IpAddress, "192.168.17.4"),
        ("from 192.168.17.4...", Class::IpAddress, "192.168.17.4"),
        ("ip:2001:db8::8a2e:370:7334", Class::IpAddress, "2001:db8::8a2e:370:7334"),
        ("MAC:AA:BB:CC:DD:EE:FF", Class::MacAddress, "AA:BB:CC:DD:EE:FF"),
        ("key AKIAIOSFODNN7EXAMPLE.", Class::ApiKey, "AKIAIOSFODNN7EXAMPLE"),
        ("AKIAIOSFODNN7EXAMPLE-old", Class::ApiKey, "AKIAIOSFODNN7EXAMPLE-old"),
        ("%3DAKIAIOSFODNN7EXAMPLE", Class::ApiKey, "AKIAIOSFODNN7EXAMPLE"),
        (
            "a-b-c-d-e-f-ghp_0123456789abcdefghijABCDEFGHIJ012345",
            Class::ApiKey,
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        ),
        (
            "tokenghp_0123456789abcdefghijABCDEFGHIJ012345",
            Class::ApiKey,
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        ),
        (
            "Bearer%20eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop",
            Class::Jwt,
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop",
        ),
        (
            "pw$2b$12$01234567890123456789012345678901234567890123456789012",
            Class::PasswordHash,
            "$2b$12$01234567890123456789012345678901234567890123456789012",
        ),
        (
            "alter role md5d41d8cd98f00b204e9800998ecf8427e.",
            Class::PasswordHash,
            "md5d41d8cd98f00b204e9800998ecf8427e",
        ),
    ];
    let cards = cards.into_iter().map(card);
    let grouped = grouped.map(|(cell, span)| (cell.to_owned(), Class::CreditCard, span));
    let others = others.map(|(cell, class, span)| (cell.to_owned(), class, span));
    for (cell, class, span) in cards.chain(grouped).chain(others) {
        assert_eq!(classes(&cell), [(class, span.to_owned())], "{cell}");
    }
}

#[test]
fn all_cards_of_a_list_are_found() {
    let card = (Class::CreditCard, "4532 0151 1283 0366".to_owned());
    for before in ["", "5 ", "1234 "] {
        let cell = before.to_owned() + &"4532 0151 1283 0366 ".repeat(20);
        assert_eq!(classes(&cell), vec![card.clone(); 20], "{cell}");
    }
}

/// Also where more groups stand before it than are read at once.
#[test]
fn a_number_is_found_at_any_place_of_a_list() {
    for number in ["4532015112830366", "4532 0151 1283 0366", "415-555-2671"] {
        for place in 0..30 {
            let mut list = ["7"; 30];
            list[place] = number;
            let found = classes(&list.join(" "));
            assert!(matches!(&found[..], [(_, span)] if span == number), "{place}: {found:?}");
        }
    }
}

#[test]
fn both_ends_of_a_range_are_found() {
    let ends = ["10.0.0.17", "10.0.0.255"].map(|end| (Class::IpAddress, end.to_owned()));
    assert_eq!(classes("10.0.0.17-10.0.0.255"), ends);
}

/// Of two that overlap nothing is shown.
#[test]
fn what_is_beyond_the_first_of_two_is_found_too() {
    for cell in ["+49 30 901820_jane@mail.example", "4111 1111 1111 1111.jane@mail.example"] {
        let found = classes(cell);
        let (_, last) = found.last().unwrap();
        assert!(found.len() == 2 && last.ends_with("jane@mail.example"), "{cell}: {found:?}");
    }
    for cell in ["jane@mail.examplejoe@post.example", "a@b.exampleb@c.example@d.example"] {
        assert_eq!(classes(cell), [(Class::Email, cell.to_owned())]);
    }
    assert_eq!(classes("mysql://app:hunter2@mail.example").len(), 1);
}

#[test]
fn what_only_looks_alike_is_left() {
    for cell in [
        "git@github.com:org/repo.git",
        "img/logo@2x.png",
        "127.0.0.1:8080",
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
        "04254-7978",
        "SW1A 1AA",
        "user_email_count",
        "std::vec::Vec",
        "https://example.com/a/b?c=d",
        "password: see below",
        "978-3-16-148410-0",
        "0.4532015112830366",
        "17.4532015112830366",
        ".4532015112830366",
        "4532015112830366.50",
        "45320151128303661",
        "x2y4532015112830366",
        "4532015112830366b1",
        "4532-0151-1283-0366-1111",
        "1111-4532-0151-1283-0366",
        "12345678-4532-0151-1283-036612345678",
        "2019 2020 2021 2022 2023 2024 2025",
        "2014 1981 1994",
        "1000 1000 1000 1000 1000 4532 0151 1283 0366 1000",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "12345678 12345678 12345678",
        "DE8937040044053201300012",
        "DE89370400440532013001EUR",
        "abDe89370400440532013000",
        "1GB82WEST12345698765432EUR",
        "openssl-10.2.3.14",
        "AB536-90-4399",
        "v_10.4.12.1-rc1",
        "SHA:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99",
        "https://example.com/%40user/x.html",
        "100%40 of it",
        "color: #64;",
        "UTC+0100",
        "INV20240000123",
        "task-0123456789abcdefghijABCDEFGHIJ012345678",
        "@mention",
        "a@b",
        "$12.50",
    ] {
        assert_eq!(classes(cell), [], "{cell}");
    }
}

/// What the scanners find when they are led to every place in turn.
fn everywhere(cell: &[u8], demand: Demand) -> Vec<Found> {
    let mut found = Vec::new();
    let key = |sign: &u8| sign.is_ascii_alphanumeric() || b"_-.".contains(sign);
    let part = |sign: &u8| sign.is_ascii_hexdigit() || b".:-".contains(sign);
    let (mut armour, mut mails, mut hashes, mut values, mut words) = (0, 0, 0, 0, 0);
    let (mut keys, mut parts, mut ibans) = (0, 0, 0);
    for (place, sign) in cell.iter().enumerate() {
        let rest = &cell[place..];
        if place >= keys && key(sign) {
            keys = place + rest.iter().take_while(|sign| key(sign)).count();
            if keys - place >= 16 {
                secrets::word(cell, place, keys, &mut found);
            }
        }
        if place >= parts && part(sign) {
            parts = place + rest.iter().take_while(|sign| part(sign)).count();
            if parts - place >= 6 {
                network::run(cell, place, parts, &mut found);
            }
        }
        if place >= armour {
            armour = secrets::private_key(cell, place, &mut found).unwrap_or(armour);
        }
        if place >= mails
            && let Some(sign) = mail::sign(cell, place)
        {
            mails = mail::at(cell, sign, mails, &mut found).unwrap_or(mails);
        }
        if sign.is_ascii_digit() && place >= ibans {
            ibans = iban::at(cell, place, &mut found).unwrap_or(ibans);
        }
        if b"${".contains(sign) && place >= hashes {
            hashes = secrets::hash(cell, place, hashes, &mut found);
        }
        secrets::credentials(cell, place, &mut found);
        if b"=:".contains(sign) && place >= values {
            values = secrets::assigned(cell, place, &mut found).unwrap_or(values);
        }
        if sign.is_ascii_digit() && place >= words {
            let behind = cell[words..place].iter().rev().take_while(|sign| alnum::is_word(**sign));
            let (start, ahead) = (place - behind.count(), rest.iter());
            let end = place + ahead.take_while(|sign| alnum::is_word(**sign)).count();
            words = alnum::word(cell, start, end, words, &mut found);
        }
    }
    let digits = cell.iter().filter(|sign| sign.is_ascii_digit()).count();
    let all = numbers::Cluster { start: 0, end: cell.len(), digits };
    if numbers::may_be(cell, all) {
        numbers::scan(cell, all, demand, &mut found);
    }
    untangle(&mut found);
    found
}

/// The sweep must never be the reason that something isn't found.
#[test]
fn the_sweep_leads_to_all_that_a_scanner_finds() {
    let seeds = [
        "jane@doe.com",
        "+49 30 901820",
        "(415) 555-2671",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "536-90-4399",
        "DE89370400440532013000",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "529.982.247-25",
        "AB123456C",
        "AB 12 34 56 C",
        "131052-308T",
        "12345678Z",
        "X-1234567-L",
        "1 80 12 69 552 223 80",
        "ABCPE1234F",
        "192.168.17.4",
        "fe80::1",
        "2001:db8::8a2e:370:7334",
        "aa-bb-cc-dd-ee-ff",
        "52.520,13.405",
        "52.520 - 13.405",
        "AKIAIOSFODNN7EXAMPLE",
        "4532015112830366.00",
        "4532  0151  1283  0366",
        "1 2 3 4 5 6 7 8 9 10 11 12 ",
        "4111 1111 1111 1111 1111",
        "x_DE89370400440532013000EUR",
        "12345678901234567890",
        "%204532015112830366",
        "%3D",
        "\\n",
        "„415-555-2671“",
        "卡",
        "jane%40mail.example",
        "\"jane doe\"@mail.example",
        "ip:192.168.17.4",
        "MAC:AA:BB:CC:DD:EE:FF",
        "tokenghp_0123456789abcdefghijABCDEFGHIJ012345",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop",
        "postgres://a:b@c",
        "password=abc",
        "$2b$12$0123456789012345678901234567890123456789012345678901",
        "pbkdf2_sha256$260000$abcdefghijkl$01234567890123456789",
        "{SSHA}0123456789012345678901234567",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----",
        "-----END PRIVATE KEY-----",
        "PuTTY-User-Key-File-2",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        " ",
        "-",
        "::",
        "x",
        "aabb.ccdd.eeff",
        "1",
        "\u{a0}",
        "pwd:Hunter22",
        "The parcel was left with the neighbour, who will bring it over. ",
    ];
    let joints: [&[u8]; 9] = [b"", b" ", b"\n", b", ", b"    ", b"     ", b"-", b"=", b"\xc2\xa0"];
    let mut dice = Dice::new(11);
    let (mut hits, mut found) = (0, Vec::new());
    for round in 0..60_000 {
        let mut cell = Vec::new();
        for _ in 0..1 + dice.below(5) {
            cell.extend_from_slice(seeds[dice.below(seeds.len())].as_bytes());
            cell.extend_from_slice(joints[dice.below(joints.len())]);
        }
        for _ in 0..dice.below(3) {
            let place = dice.below(cell.len());
            cell[place] = (32 + dice.below(95)) as u8;
        }
        let cut = if dice.below(2) == 0 { dice.below(cell.len()) } else { 0 };
        let cell = &cell[cut..];
        let demand = if round % 2 == 0 { Demand::Check } else { Demand::Form };
        scan(cell, demand, &mut found);
        let all = everywhere(cell, demand);
        hits += all.len();
        assert_eq!(found, all, "{:?}", String::from_utf8_lossy(cell));
    }
    assert!(hits > 40_000, "only {hits} hits: this test tests nothing");
}

#[test]
fn in_what_is_plain_no_scanner_finds_anything() {
    let mut dice = Dice::new(5);
    let is = |cell: &str| plain::is(cell.as_bytes(), Signs::of_short(cell.as_bytes()));
    for (cell, plain) in [
        ("2024-05-06", true),
        ("2024-05-06 07:08:09", true),
        ("2024-05-06T07:08:09Z", true),
        ("2024-05-06 07:08:09.123456+00", true),
        ("2024-05-06 07:08:09.1-05:30", true),
        ("2024-05-06T07:08:09+0530", true),
        ("550e8400-e29b-41d4-a716-446655440000", true),
        ("550e8400-e29b-41d4-a716-44665544000g", false),
        ("550e8400-e29b-41d4-a716-4466554400", false),
        ("2024-05-06 +49 30 901820", false),
        ("2024-05-06 07:08:09 jane@doe.com", false),
        ("2024-05-06 07:08:09.1234567890", false),
        ("2024-05-06 07:08:09+4930901820", false),
        ("536-90-4399", false),
        ("2024-05-06a", false),
    ] {
        assert_eq!(is(cell), plain, "{cell}");
    }
    for _ in 0..20_000 {
        let cell: String = "dddd-dd-dd dd:dd:dd.dddddd+dd:dd"
            .chars()
            .map(|sign| if sign == 'd' { char::from(b'0' + dice.below(10) as u8) } else { sign })
            .collect();
        for length in [10, 19, 21, 26, 29, 32] {
            let cell = &cell[..length];
            assert!(is(cell) && everywhere(cell.as_bytes(), Demand::Check).is_empty(), "{cell}");
        }
    }
}

#[test]
fn every_sign_is_of_its_kinds_wherever_it_stands() {
    for sign in u8::MIN..=u8::MAX {
        let bit = |is: bool, place: usize| u64::from(is) << place;
        for place in [0, 1, 7, 8, 31, 63] {
            let mut block = [0; 64];
            block[place] = sign;
            let signs = Signs {
                digits: bit(sign.is_ascii_digit(), place),
                words: bit(sign.is_ascii_digit(), place),
                keys: bit(sign.is_ascii_alphanumeric() || b"_-.".contains(&sign), place),
                parts: bit(sign.is_ascii_hexdigit() || b".:-".contains(&sign), place),
                dashes: bit(sign == b'-', place),
                marks: bit(b"@:=${%#\\".contains(&sign), place),
            };
            assert_eq!(Signs::of(&block), signs, "{sign:#x} at {place}");
            // By itself a cell has no key if it is too short, no address if nothing
            // parts it.
            let parted = b".:-".contains(&sign);
            for length in place + 1..64 {
                let keys = if length < 16 { 0 } else { signs.keys };
                let parts = if parted { signs.parts } else { 0 };
                let signs = Signs { keys, parts, ..signs };
                assert_eq!(Signs::of_short(&block[..length]), signs, "{sign:#x} at {place}");
            }
        }
    }
}

#[test]
fn every_word_that_announces_a_secret_is_heard() {
    for word in secrets::PASSWORDS.iter().chain(secrets::SECRETS).chain([&b"token".as_slice()]) {
        let word = String::from_utf8(word.to_vec()).unwrap();
        for name in [word.clone(), word.to_uppercase(), format!("my-{word}_")] {
            // `token` only when it is the whole word.
            if name.starts_with("my") && word == "token" {
                continue;
            }
            let cell = format!("{name}=Abc123def456ghi");
            let found = classes(&cell);
            assert!(found.len() == 1 && found[0].1 == "Abc123def456ghi", "{cell}: {found:?}");
        }
    }
}

#[test]
fn a_private_key_behind_certificates_is_found() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----";
    let second = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----";
    let cell = format!("{certificate}{certificate}{key}\n{second}\n{certificate}");
    let keys = [key, second].map(|key| (Class::PrivateKey, key.to_owned()));
    assert_eq!(classes(&cell), keys);
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
        "$a",
        "password",
        "a1",
        "a-1 ",
        "1 a ",
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN PRIVATE KEY-----END ",
        "abcdefghijklmnop_",
        "= ",
        "%40",
        "1%20",
        "4111 ",
        "4111-",
        "4532015112830366 1 ",
        "\"a\"@",
        "&#64;",
        "DE89",
        "DE89 ",
        "ab12",
        "x_1",
        "ghp_-",
        "1.2.3.4-",
        "a:b:",
        "卡4532",
        "é12345678",
        "=40a.bc",
        "1+",
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
