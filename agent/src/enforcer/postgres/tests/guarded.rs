//! What goes on between a client that is guarded and a server that tells nothing of its
//! catalog.

use std::os::fd::AsFd;

use super::*;
use crate::channel::{ToEnforcer, seal_terms};
use crate::enforcer::rig::unread_terms;
use crate::model::{PolicyTerms, Terms};

/// The server's end, frame by frame.
struct Server {
    stream: TcpStream,
    /// What it says of statements that SQL has prepared.
    prepared: Option<&'static str>,
}

impl Server {
    /// The next message that is none of our own questions. Those fail.
    fn asked(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (tag, body) = self.next();
            let has = |word: &[u8]| body.windows(word.len()).any(|it| it == word);
            match tag {
                b'Q' if has(b"pg_catalog") => {}
                b'C' if has(b"tidegate asks") => {
                    let mut about = Vec::new();
                    while !about.ends_with(b"S") {
                        let (tag, body) = self.next();
                        about.extend(body);
                        about.push(tag);
                    }
                    let about_it = |word: &[u8]| about.windows(word.len()).any(|it| it == word);
                    let said: &[&str] = match self.prepared {
                        Some(_) if about_it(b"pg_backend_pid") => &["7", "public", "app", "0"],
                        Some(prepared) if about_it(b"from_sql") => &[prepared],
                        _ => &[],
                    };
                    if !said.is_empty() {
                        self.says(&[row(said), message(b'Z', b"I")]);
                        continue;
                    }
                }
                _ => return (tag, body),
            }
            self.says(&[message(b'E', b"SERROR\0C42501\0Mno\0\0"), message(b'Z', b"I")]);
        }
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn says(&mut self, messages: &[Vec<u8>]) {
        self.stream.write_all(&messages.concat()).unwrap();
    }
}

/// A session whose actor the default policies hold for.
fn guarded(rig: &mut Rig) -> (TcpStream, Server) {
    guarded_by(rig, PolicyTerms::default())
}

fn guarded_by(rig: &mut Rig, policy: PolicyTerms) -> (TcpStream, Server) {
    let terms = Terms { policy, ..unread_terms() };
    let terms = seal_terms(&terms).unwrap();
    rig.keeper.send(&ToEnforcer::Terms, &[terms.as_fd()]).unwrap();
    let ends = session(rig);
    (ends.client, Server { stream: ends.server, prepared: None })
}

fn columns(names: &[&str]) -> Vec<u8> {
    let of = |name: &&str| {
        [name.as_bytes(), b"\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"].concat()
    };
    let all: Vec<u8> = names.iter().flat_map(of).collect();
    message(b'T', &[&u16::try_from(names.len()).unwrap().to_be_bytes()[..], &all].concat())
}

fn row(values: &[&str]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let all = values.iter().flat_map(|one| [&length(one.len()), one.as_bytes()].concat());
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    message(b'D', &count.into_iter().chain(all).collect::<Vec<u8>>())
}

/// A rule may answer one INSERT with two SELECTs, of different widths.
#[test]
fn each_description_begins_an_answer() {
    let mut rig = Rig::ready();
    let (mut client, mut server) = guarded(&mut rig);
    client.write_all(&message(b'Q', b"INSERT INTO t VALUES (1)\0")).unwrap();
    assert_eq!(server.asked(), (b'Q', b"INSERT INTO t VALUES (1)\0".to_vec()));
    let null = b"\xff\xff\xff\xff";
    let answer = [
        columns(&["a"]),
        message(b'D', &[b"\0\x01", &null[..]].concat()),
        columns(&["b", "c"]),
        message(b'D', &[b"\0\x02", &null[..], null].concat()),
        message(b'C', b"INSERT 0 1\0"),
        message(b'Z', b"I"),
    ];
    server.says(&answer);
    hears(&mut client, &answer.concat());
}

/// The server joins what stands before and behind a Flush.
#[test]
fn a_mask_that_comes_back_in_two_pieces_is_found_across_a_flush() {
    let mut rig = Rig::ready();
    let (mut client, mut server) = guarded(&mut rig);
    let copy = b"COPY customers (id, email) FROM STDIN\0";
    client.write_all(&message(b'Q', copy)).unwrap();
    assert_eq!(server.asked(), (b'Q', copy.to_vec()));
    let begins = message(b'G', b"\0\0\x02\0\0\0\0");
    server.says(std::slice::from_ref(&begins));
    hears(&mut client, &begins);
    let row = "12\tj•••@example.com\n".as_bytes();
    // Within the second dot.
    let (one, other) = row.split_at(8);
    let data = [message(b'd', one), message(b'H', b""), message(b'd', other), message(b'c', b"")];
    client.write_all(&data.concat()).unwrap();
    assert_eq!(server.next(), (b'd', one.to_vec()));
    assert_eq!(server.next(), (b'H', Vec::new()));
    assert_eq!(server.next().0, b'f', "the COPY is given up");
}

/// Code may have put another statement under the name: the server is asked, and what it
/// says counts.
#[test]
fn what_is_bound_behind_code_that_ran_is_what_the_server_says() {
    for (by_sql, goes_up) in [("false", &b"BDES"[..]), ("true", b"BES")] {
        let mut rig = Rig::ready();
        let own = vec![("own.cedar".to_owned(), BLIND.to_owned())];
        let policy = PolicyTerms { bare: true, own, ..PolicyTerms::default() };
        let (mut client, mut server) = guarded_by(&mut rig, policy);
        server.prepared = Some(by_sql);
        let parse = message(b'P', b"s\0select 'a'\0\0\0");
        client.write_all(&[&*parse, &message(b'S', b"")].concat()).unwrap();
        assert_eq!(server.asked().0, b'P');
        assert_eq!(server.next().0, b'S');
        let answer = [message(b'1', b""), message(b'Z', b"I")];
        server.says(&answer);
        hears(&mut client, &answer.concat());
        let code = message(b'Q', b"do $$begin execute 'deallocate s'; end$$\0");
        client.write_all(&code).unwrap();
        assert_eq!(server.asked(), (b'Q', code[5..].to_vec()));
        let answer = [message(b'C', b"DO\0"), message(b'Z', b"I")];
        server.says(&answer);
        hears(&mut client, &answer.concat());
        let run = message(b'E', &[0; 5]);
        let bound = [message(b'B', b"\0s\0\0\0\0\0\0\0"), run, message(b'S', b"")];
        client.write_all(&bound.concat()).unwrap();
        let mut tags = vec![server.asked().0];
        tags.extend(goes_up[1..].iter().map(|_| server.next().0));
        assert_eq!(tags, goes_up);
        // What nobody has described is shown to nobody.
        server.says(&[message(b'2', b"")]);
        if goes_up.contains(&b'D') {
            server.says(&[columns(&["a"])]);
        }
        let end = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
        server.says(&[message(b'D', b"\0\x01\0\0\0\x05plain"), end.clone()]);
        let mut heard = Vec::new();
        while !heard.ends_with(&end) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            heard.extend(byte);
        }
        let shown = heard.windows(5).any(|it| it == b"plain");
        assert_eq!(shown, by_sql == "false");
    }
}

/// Anything may be done, and nothing sensitive seen.
const BLIND: &str = r#"
@id("all") permit (principal, action, resource);
@id("blind") @reason("it is sensitive")
forbid (principal, action == Action::"reveal", resource);
"#;
