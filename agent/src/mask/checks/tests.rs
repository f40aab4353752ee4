use super::*;

fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|sign| sign - b'0').collect()
}

/// Each takes its example, and not the example with one digit changed.
#[test]
fn examples_pass_and_their_misprints_do_not() {
    type Check = fn(&[u8]) -> bool;
    let checks: &[(&str, Check, &str)] = &[
        ("card", card, "4111 1111 1111 1111"),
        ("card", card, "5500 0055 5555 5559"),
        ("card", card, "3782 822463 10005"),
        ("uk_nhs", uk_nhs, "943 476 5919"),
        ("de_tax_id", de_tax_id, "86095742719"),
        ("nl_bsn", nl_bsn, "111222333"),
        ("pl_pesel", pl_pesel, "44051401359"),
        ("be_nrn", be_nrn, "85.07.30-033.28"),
        ("ch_ahv", ch_ahv, "756.9217.0769.85"),
        ("se_personnummer", se_personnummer, "811218-9876"),
        ("br_cpf", br_cpf, "529.982.247-25"),
        ("br_cnpj", br_cnpj, "11.222.333/0001-81"),
        ("in_aadhaar", in_aadhaar, "2341 2341 2346"),
        ("au_tfn", au_tfn, "123 456 782"),
        ("ca_sin", ca_sin, "130 692 544"),
        ("za_id", za_id, "8001015009087"),
        ("aba_routing", aba_routing, "021000021"),
        ("npi", npi, "1234567893"),
    ];
    for (name, check, example) in checks {
        let right = digits(example);
        assert!(check(&right), "{name} refuses {example}");
        let last = right.len() - 1;
        let mut wrong = right.clone();
        wrong[last] = (wrong[last] + 1) % 10;
        assert!(!check(&wrong), "{name} takes {example} with another last digit");
    }
}

#[test]
fn texts_pass_and_their_misprints_do_not() {
    type Check = fn(&[u8]) -> bool;
    let checks: &[(&str, Check, &str, &str)] = &[
        ("iban", iban, "GB82WEST12345698765432", "GB82WEST12345698765433"),
        ("iban", iban, "DE89370400440532013000", "DE8937040044053201300"),
        // A bank in Germany has no letters, one in Britain four.
        ("iban", iban, "DE89370400440532013000", "DE89370400440532AB3000"),
        ("uk_nino", uk_nino, "AB123456C", "BG123456C"),
        ("es_dni", es_dni, "12345678Z", "12345678A"),
        ("es_dni", es_dni, "X1234567L", "X1234567M"),
        ("it_fiscal_code", it_fiscal_code, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        ("fr_nir", fr_nir, "180126955222380", "180126955222381"),
        ("fi_hetu", fi_hetu, "131052-308T", "131052-308U"),
        ("sg_nric", sg_nric, "S1234567D", "S1234567E"),
        ("cn_id", cn_id, "11010519491231002X", "110105194912310021"),
        ("in_pan", in_pan, "ABCPE1234F", "ABCDE1234F"),
        ("mx_curp", mx_curp, "HEGG560427MVZRRL04", "HEGG561327MVZRRL04"),
    ];
    for (name, check, right, wrong) in checks {
        assert!(check(right.as_bytes()), "{name} refuses {right}");
        assert!(!check(wrong.as_bytes()), "{name} takes {wrong}");
    }
}

#[test]
fn numbers_that_nobody_has_are_refused() {
    assert!(us_ssn(&digits("536-90-4399")));
    for never in ["000-12-3456", "666-12-3456", "912-34-5678", "123-00-4567", "123-45-0000"] {
        assert!(!us_ssn(&digits(never)), "{never}");
    }
    assert!(us_itin(&digits("912-70-1234")) && !us_itin(&digits("912-34-1234")));
    assert!(!br_cpf(&digits("111.111.111-11")));
    assert!(!card(&[0; 16]));
    assert!(kr_rrn(&digits("850101-1234567")) && !kr_rrn(&digits("851301-1234567")));
}

#[test]
fn no_input_makes_a_check_fail() {
    type Check = fn(&[u8]) -> bool;
    let checks: &[Check] = &[
        card,
        iban,
        aba_routing,
        npi,
        luhn,
        verhoeff,
        us_ssn,
        us_itin,
        uk_nino,
        uk_nhs,
        de_tax_id,
        fr_nir,
        es_dni,
        it_fiscal_code,
        nl_bsn,
        pl_pesel,
        be_nrn,
        ch_ahv,
        dk_cpr,
        no_fnr,
        fi_hetu,
        se_personnummer,
        br_cpf,
        br_cnpj,
        mx_curp,
        in_aadhaar,
        in_pan,
        au_tfn,
        au_medicare,
        ca_sin,
        sg_nric,
        kr_rrn,
        cn_id,
        za_id,
    ];
    let mut dice = crate::wire::postgres::testing::Dice::new(7);
    for _ in 0..20_000 {
        let length = dice.below(24);
        let digits: Vec<u8> = (0..length).map(|_| dice.below(10) as u8).collect();
        let signs: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        for check in checks {
            check(&digits);
            check(&signs.iter().map(|sign| sign % 10).collect::<Vec<_>>());
            if !signs.iter().any(|sign| *sign > 9) {
                check(&signs);
            }
        }
        for check in [
            iban as Check,
            uk_nino,
            fr_nir,
            es_dni,
            it_fiscal_code,
            fi_hetu,
            mx_curp,
            in_pan,
            sg_nric,
            cn_id,
        ] {
            check(&signs);
        }
    }
}
