use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::channel::{ToEnforcer, seal_terms};
use crate::enforcer::rig::{Rig, connection};
use crate::model::{Actor, Kind, Terms};

fn startup(parameters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for word in ["user", "app"].iter().chain(parameters) {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

/// Whether the server hears of the startup; else the client is told why it doesn't.
fn is_admitted(rig: &mut Rig, kind: Kind, parameters: &[&str]) -> bool {
    let (mut client, accepted) = connection();
    let (upstream, mut server) = connection();
    let mut flow = rig.flow("elsewhere");
    flow.actor = Arc::new(Actor { kind, ..Actor::default() });
    rig.hand_over(flow, &[OwnedFd::from(accepted), OwnedFd::from(upstream)]).unwrap();
    let startup = startup(parameters);
    client.write_all(&startup).unwrap();
    let mut heard = vec![0; startup.len()];
    if server.read_exact(&mut heard).is_ok() {
        assert_eq!(heard, startup);
        return true;
    }
    let told = rest(client);
    assert!(told.starts_with(b"E") && told.windows(5).any(|it| it == b"42501"), "{told:?}");
    false
}

fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    heard
}

#[test]
fn who_may_not_set_something_does_not_begin_with_it() {
    let mut rig = Rig::ready();
    let terms = seal_terms(&Terms::default()).unwrap();
    rig.keeper.send(&ToEnforcer::Terms, &[terms.as_fd()]).unwrap();
    let replica = ["options", "-c session_replication_role=replica"];
    let named = ["session_replication_role", "replica"];
    let libraries = ["options", "-eclocal_preload_libraries=x"];
    let other = ["options", "-c geqo=off", "search_path", "hr"];
    for (kind, parameters, admitted) in [
        (Kind::Agent, replica, false),
        (Kind::Agent, named, false),
        (Kind::Terminal, replica, true),
        (Kind::Terminal, libraries, false),
        // In shadow.
        (Kind::Service, libraries, true),
    ] {
        assert_eq!(is_admitted(&mut rig, kind, &parameters), admitted, "{kind:?} {parameters:?}");
    }
    assert!(is_admitted(&mut rig, Kind::Agent, &other));
}
