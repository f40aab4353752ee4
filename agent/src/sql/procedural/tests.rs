use super::*;

fn read(text: &str) -> Body {
    body(text, Strings::Standard)
}

/// `statement`, `= values`, `! run`, `< fetched`.
#[track_caller]
fn pieces(text: &str, expected: &[&str]) {
    let body = read(text);
    assert!(body.followed, "{text}: {body:?}");
    let shown = |piece: &Piece| match piece {
        Piece::Statement(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Piece::Values(text) => text.replacen("SELECT", "=", 1),
        Piece::Runs(text) => text.replacen("SELECT", "!", 1),
        Piece::Fetches => "<".into(),
    };
    let shown: Vec<_> = body.pieces.iter().map(shown).collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn statements_stand_between_words_of_the_language() {
    pieces("begin delete from a; end", &["delete from a"]);
    pieces("BEGIN DELETE FROM a; TRUNCATE b; END;", &["DELETE FROM a", "TRUNCATE b"]);
    pieces(
        "begin if x then delete from a; elsif y then truncate b; else drop table c; end if; end",
        &["= x", "delete from a", "= y", "truncate b", "drop table c"],
    );
    pieces(
        "<<l>> begin loop exit l when f(); delete from a; end loop l; while x loop null; end loop; end l;",
        &["= f()", "delete from a", "= x"],
    );
    pieces(
        "begin case x when 1, 2 then delete from a; else null; end case; end",
        &["= x", "= 1, 2", "delete from a"],
    );
    pieces(
        "begin begin delete from a; exception when unique_violation or sqlstate '22012' then \
         update b set c = 1; end; end",
        &["delete from a", "update b set c = 1"],
    );
    pieces("#variable_conflict use_column\nbegin delete from a; end", &["delete from a"]);
}

#[test]
fn where_a_result_goes_is_no_table() {
    pieces(
        "begin select a, b into strict x, r.y from t where z; end",
        &["select a, b from t where z"],
    );
    pieces("begin select into x a from t; end", &["select a from t"]);
    pieces(
        "begin insert into t values (1) returning a into x; end",
        &["insert into t values (1) returning a"],
    );
    pieces(
        "begin with d as (insert into t values (1)) select 1 into x; end",
        &["with d as (insert into t values (1)) select 1"],
    );
}

#[test]
fn expressions_are_read_wherever_they_stand() {
    pieces(
        "declare x constant int not null := f(); y numeric(10, 2) default g(); z t%rowtype; \
         c cursor (k int) for select * from t; begin x := h() from u; a[i()] = 1; end",
        &[
            "= NULL::int",
            "= f()",
            "= NULL::numeric(10, 2)",
            "= g()",
            "select * from t",
            "= h() from u",
            "= a[i()]",
            "= 1",
        ],
    );
    pieces(
        "begin perform f(); return next g(); raise notice '% %', h(), i() using hint = j(); \
         assert k(), 'x'; return; end",
        &["= f()", "= g()", "= h()", "= i()", "= j()", "= k()", "= 'x'"],
    );
}

#[test]
fn loops_over_rows_hold_queries() {
    pieces(
        "begin for i in reverse 1..f() by 2 loop null; end loop; \
         for a, b in delete from t returning c loop null; end loop; \
         for r in c (k := g()) loop null; end loop; \
         foreach x slice 1 in array h() loop null; end loop; end",
        &["= 1", "= f()", "= 2", "delete from t returning c", "<", "= g()", "= h()"],
    );
}

#[test]
fn text_that_is_run_is_told_apart() {
    pieces(
        "begin execute 'a' || b into x using y; for r in execute 'c' using z loop null; end loop; \
         return query execute 'd'; open e for execute 'f'; return query select 1; end",
        &["! 'a' || b", "= y", "! 'c'", "= z", "! 'd'", "! 'f'", "select 1"],
    );
}

#[test]
fn what_is_not_followed_is_told_and_the_rest_is_read() {
    for (text, found) in [
        ("begin delete from a; end if; end", 1),
        ("begin if x delete from a; truncate b; end", 1),
        ("begin 'x'; delete from a; end;", 1),
        ("begin delete from a", 1),
        ("begin create rule r as on insert to t do (delete from a; delete from b); end", 2),
        ("begin /* delete from a; end", 0),
        ("begin select 1 into x into y; end", 1),
    ] {
        let body = read(text);
        assert!(body.pieces.len() >= found, "{text}: {body:?}");
        assert!(!body.followed, "{text}: {body:?}");
    }
}

#[test]
fn there_is_always_an_end() {
    let words = [
        "begin", "end", "if", "then", "loop", "for", "in", "execute", "into", "using", ";", "(",
        ")", ",", ":", "=", ".", "<", "#", "case", "when", "declare", "a", "'x'", "raise", "open",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(words[(seed >> 33) as usize % words.len()]);
            text.push(' ');
        }
        read(&text);
    }
}
