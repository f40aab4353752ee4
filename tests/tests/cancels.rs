//! Cancels, where several servers stand behind one name: the cancelling connection
//! is made by the same name as the session's, and may lead elsewhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::scene::alone;
use tidegate_tests::wire::{Connection, message, tls};
use tidegate_tests::{ports, wait};

const SLEEP: &str = "SELECT pg_sleep(60)";

/// One of the servers that a name leads to, and what every connection to it began
/// with, as the network has seen it.
struct Server {
    postgres: Postgres,
    at: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    fn start(address: Ipv4Addr, port: u16) -> Result<Self> {
        let postgres = Postgres::setup().tls(Key::P256).auth("trust").start()?;
        let at = SocketAddr::from((address, port));
        let listener = TcpListener::bind(at)?;
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (to, keep) = (postgres.port(), Arc::clone(&heard));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { return };
                let number = {
                    let mut heard = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let keep = Arc::clone(&keep);
                let pair = client.try_clone().and_then(|one| Ok((one, server.try_clone()?)));
                let Ok((from, into)) = pair else { return };
                std::thread::spawn(move || pass(server, client, |_| {}));
                std::thread::spawn(move || {
                    pass(from, into, |bytes| {
                        let mut heard = keep.lock().unwrap_or_else(PoisonError::into_inner);
                        let room = FIRST.saturating_sub(heard[number].len());
                        heard[number].extend(bytes.iter().take(room));
                    });
                });
            }
        });
        Ok(Self { postgres, at, heard })
    }

    /// How many sleep.
    fn sleepers(&self) -> Result<String> {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{SLEEP}'"
        );
        Ok(self.postgres.admin("app", &sql)?.trim().to_owned())
    }

    fn wait_asleep(&self) -> Result<()> {
        wait::until("a statement to run", Duration::from_secs(20), || {
            Ok((self.sleepers()? == "1").then_some(()))
        })
    }

    /// How often this session's cancel came in clear.
    fn heard(&self, pid: u32, key: &[u8]) -> usize {
        let cancel = message::cancel(pid, key);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|first| first.starts_with(&cancel)).count()
    }

    fn connections(&self) -> usize {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Of each connection.
const FIRST: usize = 64;

fn pass(mut from: TcpStream, mut into: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        look(&buffer[..read]);
        if read == 0 || into.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Write);
}

struct House {
    servers: [Server; 2],
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    _folder: TempFolder,
}

impl House {
    fn new() -> Result<Self> {
        let port = ports::fresh()?;
        let servers = [
            Server::start(Ipv4Addr::new(127, 0, 0, 2), port)?,
            Server::start(Ipv4Addr::new(127, 0, 0, 3), port)?,
        ];
        let folder = TempFolder::fresh()?;
        let roots = folder.path().join("roots.pem");
        let mut texts = String::new();
        for server in &servers {
            let authority = server.postgres.authority().context("no authority")?;
            texts += &std::fs::read_to_string(authority.root())?;
        }
        std::fs::write(&roots, texts)?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let none: [u16; 0] = [];
        let plan = Plan::postgres(none).setting(&format!(
            "[[protect]]\nto = {port}\nverify = \"full\"\nserver_name = \"localhost\"\n\
             roots = {:?}",
            roots.display().to_string()
        ));
        let agent = Agent::start(&root, plan)?;
        Ok(Self { servers, agent, work, _root: root, _folder: folder })
    }

    fn dial(&self, to: &Server, secured: bool) -> Result<Connection> {
        let mut dialer = Dialer::start(&Place::new().cgroup(&self.work))?;
        let mut one = Connection::new(dialer.open(to.at)?, Arc::default())?;
        ensure!(!secured || one.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
        Ok(one)
    }

    fn session(&self, at: &Server, secured: bool) -> Result<Connection> {
        let mut one = self.dial(at, secured)?;
        let parameters = [("user", "app"), ("database", "app")];
        one.send(&message::startup(message::PROTOCOL, &parameters))?;
        one.until(b'Z').with_context(|| self.agent.tail())?;
        Ok(one)
    }

    /// Asks for it, and waits for the answer: the end.
    fn cancel(&self, at: &Server, secured: bool, pid: u32, key: &[u8]) -> Result<()> {
        let mut herald = self.dial(at, secured)?;
        herald.send(&message::cancel(pid, key))?;
        ensure!(herald.rest()?.is_empty(), "a cancel is answered by words");
        Ok(())
    }
}

/// Its statement was cancelled.
fn cancelled(one: &mut Connection) -> Result<()> {
    let messages = one.until(b'Z')?;
    let code = messages.iter().find_map(|message| message.field(b'C'));
    ensure!(code.as_deref() == Some("57014"), "{messages:?}");
    Ok(())
}

fn flipped(key: &[u8]) -> Vec<u8> {
    key.iter().map(|byte| byte ^ 0x5a).collect()
}

#[test]
fn a_cancel_reaches_the_server_that_gave_the_key() -> Result<()> {
    let _alone = alone();
    for secured in [false, true] {
        let house = House::new()?;
        let [a, b] = &house.servers;
        let (mut one, mut other) = (house.session(a, secured)?, house.session(b, secured)?);
        let (pid, key) = (one.pid, one.key.clone());
        // In clear, as libpq before 17 sends it whatever its session has, and within TLS.
        for herald in [false, true] {
            let about = || format!("session {secured}, herald {herald}{}", house.agent.tail());
            for (server, session) in [(a, &mut one), (b, &mut other)] {
                session.send(&message::query(SLEEP))?;
                server.wait_asleep()?;
            }
            house.cancel(b, herald, pid, &key).with_context(about)?;
            cancelled(&mut one).with_context(about)?;
            // What nobody has comes to nothing, wherever it arrives.
            for server in [a, b] {
                for (pid, key) in [(pid, &key), (other.pid, &other.key)] {
                    house.cancel(server, herald, pid, &flipped(key)).with_context(about)?;
                }
            }
            ensure!(b.sleepers()? == "1", "the other server's statement has ended: {}", about());
            house.cancel(b, herald, other.pid, &other.key).with_context(about)?;
            cancelled(&mut other).with_context(about)?;
            for session in [&mut one, &mut other] {
                ensure!(session.value("SELECT 'usable'")? == "usable");
            }
        }
        ensure!(b.heard(pid, &key) == 0, "the other server was told of a key that isn't its own");
        let clear = (a.heard(pid, &key), b.heard(other.pid, &other.key));
        let expected = if secured { (0, 0) } else { (1, 1) };
        ensure!(clear == expected, "{clear:?} cancels in clear, session {secured}");

        // Once its session has ended it is nobody's: it goes the way it came.
        one.leave()?;
        house
            .agent
            .wait_status("the session to end", Duration::from_secs(10), |it| it.open == 1)?;
        let before = (a.connections(), b.connections());
        house.cancel(b, false, pid, &key)?;
        ensure!(b.heard(pid, &key) == 1, "a key that nobody has any more was held back");
        ensure!((a.connections(), b.connections()) == (before.0, before.1 + 1));
        ensure!(other.value("SELECT 'usable'")? == "usable");
        other.leave()?;
    }
    Ok(())
}
