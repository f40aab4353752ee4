//! Statements that are too long to be parsed among others: a process of their own
//! reads them, and whatever becomes of it is one refusal.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::scene::alone;
use tidegate_tests::seen::Parsers;
use tidegate_tests::wait::until_true;
use tidegate_tests::{sys, venv};

/// A session that is told what to send, a line of Python each, and answers with a line.
/// A text goes as one Query; a text and its values as Parse, Bind and Execute.
struct Session {
    child: Child,
    tell: ChildStdin,
    hear: Lines<BufReader<ChildStdout>>,
}

const SCRIPT: &str = r#"
import sys, psycopg
connection = psycopg.connect(sys.argv[1], autocommit=True)
for line in sys.stdin:
    try:
        asked = eval(line)
        if isinstance(asked, tuple):
            cursor = connection.cursor()
            cursor.execute(*asked, prepare=True)
        else:
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(asked)
        row = cursor.fetchone() if cursor.description else None
        print("ok", row[0] if row else cursor.rowcount, flush=True)
    except psycopg.Error as error:
        print(error.sqlstate, str(error).replace("\n", " ")[:2000], flush=True)
"#;

impl Session {
    fn ask(&mut self, text: &str) -> Result<String> {
        self.send(text)?;
        self.answer()
    }

    fn send(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.tell, "{text}")?)
    }

    fn answer(&mut self) -> Result<String> {
        Ok(self.hear.next().context("the session's client has ended")??)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Guarded {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Guarded {
    fn start() -> Result<Self> {
        let postgres = Postgres::with_tls()?;
        postgres
            .psql("app", "CREATE TABLE customers AS SELECT 1 AS id; CREATE TABLE t (a text)")?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        // One worker, so that whoever is held up is held up by the others.
        let plan = Plan::postgres([postgres.port()]).policy("enforce");
        let agent = Agent::start(&root, plan.setting("[enforcer]").setting("workers = 1"))?;
        Ok(Self { agent, work, _root: root, postgres })
    }

    fn session(&self) -> Result<Session> {
        let mut python = Place::new().cgroup(&self.work).command(venv::python()?)?;
        python.args(["-c", SCRIPT]).arg(format!("{} sslmode=require", self.postgres.dsn("app")));
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let tell = child.stdin.take().context("no stdin")?;
        let hear = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut session = Session { child, tell, hear };
        ensure!(session.ask("'SELECT 1'")? == "ok 1", "{}", self.agent.tail());
        Ok(session)
    }

    fn parsers(&self, what: &str, wanted: impl Fn(&Parsers) -> bool) -> Result<Parsers> {
        let of = |status: &tidegate_tests::seen::Status| Some(status.current()?.parsers.clone());
        let holds = |status: &_| of(status).is_some_and(|parsers| wanted(&parsers));
        let status = self.agent.wait_status(what, Duration::from_secs(20), holds)?;
        of(&status).context("no enforcer")
    }
}

#[test]
fn a_long_text_is_understood_like_a_short_one() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    guarded.parsers("two parser processes", |parsers| parsers.pids.len() == 2)?;
    let mut session = guarded.session()?;
    let said = session.ask("'SELECT 1 WHERE 1=1' + ' OR 1=1' * 100_000")?;
    ensure!(said == "ok 1", "{said}{}", guarded.agent.tail());
    // What it does is seen, wherever it stands.
    let said =
        session.ask("'SELECT 1; ' + '/* ' + 'x' * 1_500_000 + ' */' + 'DELETE FROM customers'")?;
    ensure!(said.starts_with("42501 tidegate: "), "{said}");
    ensure!(said.contains("default/unbounded"), "{said}{}", guarded.agent.tail());
    let insert = r#""INSERT INTO t VALUES " + ",".join("('row %d, as long as rows are')" % n for n in range(310_000))"#;
    let begun = Instant::now();
    let said = session.ask(insert)?;
    ensure!(said == "ok 310000", "{said}{}", guarded.agent.tail());
    eprintln!("a 10 MB INSERT of 310,000 rows: {:?}", begun.elapsed());
    // … and a script of a hundred thousand statements.
    let said = session.ask(r#""INSERT INTO t VALUES ('the same again and again');" * 100_000"#)?;
    ensure!(said.starts_with("ok "), "{said}{}", guarded.agent.tail());
    let rows = guarded.postgres.psql("app", "SELECT count(*) FROM t")?;
    ensure!(rows.trim() == "410000", "{rows}");
    // Prepared, bound and executed: the same.
    let deep = "'SELECT ' + 'abs(' * 700 + '-7' + ')' * 700";
    ensure!(session.ask(deep)? == "ok 7", "{}", guarded.agent.tail());
    ensure!(session.ask("'SELECT count(*) FROM customers'")? == "ok 1");
    Ok(())
}

#[test]
fn what_nobody_can_read_is_refused_and_holds_up_nobody() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    let mut session = guarded.session()?;
    let mut other = guarded.session()?;
    for hostile in
        ["'(' * 16_000_000", "'SELECT ' + '(' * 900_000", "'SELECT ' + 'a+' * 7_900_000 + '1'"]
    {
        let both = (&mut session, &mut other);
        held_up_by(&guarded, both, hostile, |said| said.starts_with("42501 tidegate: "))?;
        // To be parsed only, a text that an approval could lift goes to the server, which
        // has its own limits; nothing of it runs.
        let (prepared, both) = (format!("({hostile}, None)"), (&mut session, &mut other));
        held_up_by(&guarded, both, &prepared, |said| {
            ["42501 tidegate: ", "42601 ", "54001 "].iter().any(|code| said.starts_with(code))
        })?;
    }
    Ok(())
}

/// Values of 16 MB: as text and as bytes, sent with the statement and with one that is
/// prepared already.
#[test]
fn long_values_are_carried_and_hold_up_nobody() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    let mut session = guarded.session()?;
    let mut other = guarded.session()?;
    for value in ["'x' * 16_000_000", "b'(' * 16_000_000", "'a@b.example ' * 1_300_000"] {
        let asked = format!("('SELECT octet_length(%s), 1', [{value}])");
        held_up_by(&guarded, (&mut session, &mut other), &asked, |said| {
            said.starts_with("ok 1") && said.len() == "ok 16000000".len()
        })?;
        // What is refused with them is refused as it is without.
        let asked = format!("('DELETE FROM t WHERE octet_length(%s) > 0', [{value}])");
        held_up_by(&guarded, (&mut session, &mut other), &asked, |said| {
            said.starts_with("42501 tidegate: ")
        })?;
    }
    Ok(())
}

/// The answer is as it should be, others wait for no longer than they may, and the
/// session goes on.
fn held_up_by(
    guarded: &Guarded,
    (session, other): (&mut Session, &mut Session),
    asked: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    // What holds the worker up does so each time, and for longer than others wait on a
    // busy host anyway.
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let anyway = longest(other, ANYWAY, &mut || Ok(false))?;
        session.send(asked)?;
        let mut said = None;
        let held = std::thread::scope(|scope| -> Result<Duration> {
            let answer = scope.spawn(|| session.answer());
            let within = Duration::from_secs(60);
            let held = longest(other, within, &mut || Ok(answer.is_finished()))?;
            said = Some(answer.join().map_err(|_| anyhow::anyhow!("a panic"))??);
            Ok(held)
        })?;
        let said = said.context("no answer")?;
        ensure!(wanted(&said), "{asked}: {said}{}", guarded.agent.tail());
        least = least.min(held.saturating_sub(anyway));
        if least < MOST {
            break;
        }
    }
    eprintln!("{asked}: others waited {least:?} at most");
    ensure!(least < MOST, "{asked}: others waited {least:?}");
    ensure!(session.ask("'SELECT 2'")? == "ok 2", "{}", guarded.agent.tail());
    Ok(())
}

/// What others may wait for while a text of up to 16 MB is turned away. The server and a
/// parser that read it take all there is of the memory meanwhile; on a worker it would take
/// seconds.
const MOST: Duration = Duration::from_millis(100);
/// For how long it is seen how long they wait without it.
const ANYWAY: Duration = Duration::from_millis(200);

/// The longest that a small statement took, one after the other.
fn longest(
    session: &mut Session,
    within: Duration,
    ended: &mut dyn FnMut() -> Result<bool>,
) -> Result<Duration> {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < within && !ended()? {
        let asked = Instant::now();
        ensure!(session.ask("'SELECT 3'")? == "ok 3");
        longest = longest.max(asked.elapsed());
    }
    Ok(longest)
}

#[test]
fn a_parser_process_that_is_killed_over_a_text_is_one_refusal() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    let both = guarded.parsers("two parser processes", |parsers| parsers.pids.len() == 2)?;
    let mut session = guarded.session()?;
    // Each a text of its own: what was read once is not read again.
    let long = |n: u32| format!("'INSERT INTO t VALUES ({n}) /* ' + 'x' * 200_000 + ' */'");
    ensure!(session.ask(&long(1))? == "ok 1", "{}", guarded.agent.tail());
    // Stopped, it has the text and can't answer; then it dies.
    for pid in &both.pids {
        sys::signal(*pid, libc::SIGSTOP)?;
    }
    session.send(&long(2))?;
    std::thread::sleep(Duration::from_millis(200));
    for pid in &both.pids {
        sys::signal(*pid, libc::SIGKILL)?;
    }
    let said = session.answer()?;
    ensure!(said.starts_with("42501 tidegate: "), "{said}{}", guarded.agent.tail());
    // The next one is read by the next process.
    ensure!(session.ask(&long(3))? == "ok 1", "{}", guarded.agent.tail());
    let now = guarded.parsers("two others", |now| {
        now.lost == 2 && now.pids.len() == 2 && now.pids.iter().all(|pid| !both.pids.contains(pid))
    })?;
    // One that died while nobody asked costs nobody anything.
    for pid in &now.pids {
        sys::signal(*pid, libc::SIGKILL)?;
        until_true("it to be dead", Duration::from_secs(5), || has_ended(*pid))?;
    }
    ensure!(session.ask(&long(4))? == "ok 1", "{}", guarded.agent.tail());
    let said = guarded.agent.must(&["status"])?;
    ensure!(said.contains("2, 4 lost"), "{said}");
    let rows =
        guarded.postgres.psql("app", "SELECT count(*), string_agg(a, '+' ORDER BY a) FROM t")?;
    ensure!(rows.trim() == "3|1+3+4", "what was refused has run: {rows}");
    Ok(())
}

#[test]
fn one_that_hangs_is_given_up_and_replaced_and_the_others_go_on() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    let both = guarded.parsers("two parser processes", |parsers| parsers.pids.len() == 2)?;
    let (mut session, mut other) = (guarded.session()?, guarded.session()?);
    sys::signal(both.pids[0], libc::SIGSTOP)?;
    let begun = Instant::now();
    session.send("'SELECT 4 /* ' + 'x' * 200_000 + ' */'")?;
    // The other lane, and what needs none, are as quick as ever.
    ensure!(other.ask("'SELECT 5 /* ' + 'x' * 2_000_000 + ' */'")? == "ok 5");
    ensure!(other.ask("'SELECT 6'")? == "ok 6");
    ensure!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let said = session.answer()?;
    ensure!(said.starts_with("42501 tidegate: "), "{said}{}", guarded.agent.tail());
    ensure!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    guarded.parsers("another process", |parsers| {
        parsers.pids.len() == 2 && !parsers.pids.contains(&both.pids[0])
    })?;
    ensure!(session.ask("'SELECT 7 /* ' + 'x' * 200_000 + ' */'")? == "ok 7");
    Ok(())
}

/// Gone, or only waited for.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
        || !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// What the kernel says of it from outside.
#[test]
fn it_has_no_privilege_and_nothing_open() -> Result<()> {
    let _alone = alone();
    let guarded = Guarded::start()?;
    let both = guarded.parsers("two parser processes", |parsers| parsers.pids.len() == 2)?;
    // It has locked itself in before it reads a text.
    let mut session = guarded.session()?;
    for size in ["200_000", "2_000_000"] {
        let said = session.ask(&format!("'SELECT 8 /* ' + 'x' * {size} + ' */'"))?;
        ensure!(said == "ok 8", "{said}{}", guarded.agent.tail());
    }
    for pid in both.pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        for wanted in [
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            ensure!(status.contains(wanted), "no `{wanted}` in {status}");
        }
        ensure!(!status.contains("Uid:\t0"), "{status}");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?
            .map(|entry| Ok(std::fs::read_link(entry?.path())?))
            .collect::<Result<Vec<_>>>()?;
        ensure!(open.len() == 3, "{open:?} are open");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let of =
            |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        for name in ["Max open files", "Max address space", "Max cpu time", "Max file size"] {
            ensure!(!of(name).contains("unlimited"), "{}", of(name));
        }
        let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?;
        ensure!(score.trim() == "1000", "{score}");
    }
    Ok(())
}
