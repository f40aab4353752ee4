//! For tests, fuzzing and measuring: a relay without sockets, and recorded
//! sessions. It uses nothing but what the enforcer can use as well.

use std::path::PathBuf;
use std::sync::Arc;

use crate::wire::postgres::session::{
    Authenticating, ClientLogin, ClientStep, Common, Ending, Gate, Greeted, Greeting, Refusal,
    Runs, ServerLogin, ServerStep, Session, SqlEffect, SqlEffects, What,
};
use crate::wire::postgres::{Backend, Frame, Framer, Part, Side, Splice, TlsAnswer, WireError};

/// Everything that comes from one side, frame by frame.
pub fn frames(side: Side, mut bytes: &[u8], mut take: impl FnMut(&Frame<'_>)) {
    let mut framer = Framer::new(side, Default::default());
    while !bytes.is_empty() {
        let taken = framer.feed(bytes);
        bytes = bytes.get(taken..).unwrap_or_default();
        while let Ok(Some(frame)) = framer.frame() {
            take(&frame);
        }
        framer.consume_framed();
    }
}

/// Everything is permitted, nothing is masked.
#[derive(Debug)]
pub struct Open;

impl Gate for Open {
    type Permit = Arc<str>;
    type Screened = ();
}

/// Decides about a request: a refusal, or nothing.
pub type Decide = Box<dyn FnMut(&Runs<'_, Open>) -> Option<Refusal>>;

pub enum Stage {
    Greeting(Greeting),
    /// The server's answer to a request for encryption is awaited.
    Asked(Greeting),
    Login(Box<Authenticating>),
    Session(Box<Session<Open>>),
    /// A cancel, a failed login, or a login given up.
    Over,
    /// Between two stages.
    Moving,
}

pub struct Relay {
    pub common: Common,
    pub stage: Stage,
    pub client: Framer,
    pub server: Framer,
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub decide: Decide,
    /// What each shown frame was, and the text of its request.
    pub shown: Vec<(What, Option<String>)>,
    pub keep_shown: bool,
    /// The first cells of the latest look at pg_prepared_statements.
    pub listed: Option<Vec<Vec<u8>>>,
    pub ended: Vec<(u64, Ending)>,
    /// Number and kind of what was released or refused.
    pub decided: Vec<(u64, &'static str)>,
    pub describe: bool,
    pub waited: usize,
}

impl Relay {
    pub fn new(common: Common) -> Self {
        Self {
            stage: Stage::Greeting(Greeting::new(common.clone())),
            client: Framer::new(Side::Client, Arc::clone(&common.limits)),
            server: Framer::new(Side::Server, Arc::clone(&common.limits)),
            common,
            to_server: Vec::new(),
            to_client: Vec::new(),
            decide: Box::new(|_| None),
            shown: Vec::new(),
            keep_shown: false,
            listed: None,
            ended: Vec::new(),
            decided: Vec::new(),
            describe: false,
            waited: 0,
        }
    }

    pub fn session(&self) -> Option<&Session<Open>> {
        match &self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        }
    }

    pub fn session_mut(&mut self) -> Option<&mut Session<Open>> {
        match &mut self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        }
    }

    pub fn from(&mut self, side: Side, mut bytes: &[u8]) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let framer = if side == Side::Client { &mut self.client } else { &mut self.server };
            let taken = framer.feed(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            match side {
                Side::Client => self.pump_client()?,
                _ => {
                    self.pump_server()?;
                    // What waited for the server's word can go on now.
                    self.pump_client()?;
                }
            }
        }
        Ok(())
    }

    fn pump_client(&mut self) -> Result<(), WireError> {
        let mut splice = Splice::default();
        let done = self.client_frames(&mut splice);
        flush(&mut splice, &mut self.client, &mut self.to_server);
        done
    }

    fn client_frames(&mut self, splice: &mut Splice) -> Result<(), WireError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Moving) {
                Stage::Greeting(greeting) => {
                    let Some((opening, span)) = self.client.opening()? else {
                        self.stage = Stage::Greeting(greeting);
                        return Ok(());
                    };
                    // The opening borrows the framer: what is behind it is asked first.
                    let mut packet = Vec::new();
                    let _ = opening.encode(&mut packet);
                    let behind = self.client.unframed();
                    let copy = self.client.bytes(span).to_vec();
                    let opening = match copy.get(4..) {
                        None => crate::wire::postgres::Opening::DirectTls,
                        Some(body) => {
                            crate::wire::postgres::Opening::decode(body, &self.common.limits)
                                .map_err(|fault| WireError::new(Side::Client, fault))?
                        }
                    };
                    self.stage = match greeting.packet(opening, behind)? {
                        Greeted::DirectTls(_) | Greeted::Cancel(_) => Stage::Over,
                        Greeted::TlsRequest(greeting) | Greeted::GssRequest(greeting) => {
                            Stage::Asked(greeting)
                        }
                        Greeted::Startup(_, next) => Stage::Login(Box::new(next)),
                    };
                    self.to_server.extend_from_slice(&copy);
                    self.client.consume_framed();
                }
                Stage::Login(mut login) => {
                    let Some(frame) = self.client.frame()? else {
                        self.stage = Stage::Login(login);
                        return Ok(());
                    };
                    let span = frame.span;
                    match login.client(&frame)? {
                        ClientLogin::Credential(pass, ..) => splice.pass(pass),
                        ClientLogin::Early => {
                            self.client.put_back(span);
                            self.stage = Stage::Login(login);
                            return Ok(());
                        }
                        ClientLogin::Terminate(pass) => {
                            splice.pass(pass);
                            self.stage = Stage::Over;
                            return Ok(());
                        }
                    }
                    self.stage = Stage::Login(login);
                }
                Stage::Session(mut session) => {
                    let done = self.requests(&mut session, splice);
                    self.stage = Stage::Session(session);
                    return done;
                }
                other => {
                    self.stage = other;
                    return Ok(());
                }
            }
        }
    }

    fn requests(
        &mut self,
        session: &mut Session<Open>,
        splice: &mut Splice,
    ) -> Result<(), WireError> {
        while session.takes_client() {
            let Some(frame) = self.client.frame()? else { return Ok(()) };
            let span = frame.span;
            match session.client(&frame)? {
                ClientStep::Plain(pass) => splice.pass(pass),
                ClientStep::Wait => {
                    self.client.put_back(span);
                    self.waited += 1;
                    return Ok(());
                }
                ClientStep::Runs(request) => {
                    let kind = match &request.runs {
                        Runs::Query(_) => "Query",
                        Runs::FunctionCall(_) => "FunctionCall",
                        _ => "extended",
                    };
                    self.decided.push((request.ticket.serial(), kind));
                    if let Some(refusal) = (self.decide)(&request.runs) {
                        let mut made = Vec::new();
                        session.refuse(request.ticket, refusal, &mut made)?;
                        splice.insert(&made);
                        continue;
                    }
                    let unseen = match &request.runs {
                        Runs::Bind(bind, _) if self.describe => Some(bind.portal),
                        _ => None,
                    };
                    let effects = effects(&request.runs);
                    let permit = Arc::from(format!("{}", request.ticket.serial()));
                    splice.pass(session.release(request.ticket, permit, effects)?);
                    if let Some(portal) = unseen {
                        let mut made = Vec::new();
                        session.describe_portal(portal, &mut made)?;
                        splice.insert(&made);
                    }
                }
            }
        }
        Ok(())
    }

    fn pump_server(&mut self) -> Result<(), WireError> {
        let mut splice = Splice::default();
        let done = self.server_frames(&mut splice);
        flush(&mut splice, &mut self.server, &mut self.to_client);
        done
    }

    fn server_frames(&mut self, splice: &mut Splice) -> Result<(), WireError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Moving) {
                Stage::Asked(greeting) => match self.server.tls_answer()? {
                    None => {
                        self.stage = Stage::Asked(greeting);
                        return Ok(());
                    }
                    Some(TlsAnswer::No) => {
                        self.to_client.push(b'N');
                        self.server.consume_framed();
                        self.stage = Stage::Greeting(greeting);
                    }
                    // What follows is TLS's own.
                    Some(_) => {
                        self.stage = Stage::Over;
                        return Ok(());
                    }
                },
                Stage::Login(login) => {
                    let Some(frame) = self.server.frame()? else {
                        self.stage = Stage::Login(login);
                        return Ok(());
                    };
                    self.stage = match login.server(&frame)? {
                        ServerLogin::Going(next, pass, _) => {
                            splice.pass(pass);
                            Stage::Login(Box::new(next))
                        }
                        ServerLogin::Ready(session, pass) => {
                            splice.pass(pass);
                            Stage::Session(session)
                        }
                        ServerLogin::Failed(pass, _) => {
                            splice.pass(pass);
                            Stage::Over
                        }
                    };
                }
                Stage::Session(mut session) => {
                    let done = self.answers(&mut session, splice);
                    self.ended.extend(session.outcomes().map(|end| (end.serial, end.ending)));
                    self.stage = Stage::Session(session);
                    return done;
                }
                other => {
                    self.stage = other;
                    return Ok(());
                }
            }
        }
    }

    fn answers(
        &mut self,
        session: &mut Session<Open>,
        splice: &mut Splice,
    ) -> Result<(), WireError> {
        while let Some(frame) = self.server.frame()? {
            match session.server(&frame)? {
                ServerStep::Plain(pass) => splice.pass(pass),
                ServerStep::Refused(bytes) => splice.insert(&bytes),
                ServerStep::Ours => {}
                ServerStep::Shows(shown) => {
                    if self.keep_shown {
                        let text = shown.origin.and_then(|origin| origin.text()).map(text);
                        if shown.what == What::Row
                            && text.as_ref().is_some_and(|text| text.contains(LISTING))
                        {
                            note_row(self.listed.get_or_insert_default(), &frame);
                        }
                        self.shown.push((shown.what, text));
                    }
                    splice.pass(shown.unchanged(&()));
                }
            }
            if frame.tag == b'Z' {
                let said = Backend::decode(b'Z', frame.body(), &self.common.limits);
                assert_eq!(said, Ok(Backend::ReadyForQuery(session.transaction())));
            }
        }
        Ok(())
    }
}

fn note_row(listed: &mut Vec<Vec<u8>>, frame: &Frame<'_>) {
    if let (Part::Whole, Ok(Backend::DataRow(row))) =
        (frame.part, Backend::decode(frame.tag, frame.body(), &Default::default()))
    {
        listed.extend(row.iter().next().flatten().map(<[u8]>::to_vec));
    }
}

const LISTING: &str = "from pg_prepared_statements";

fn text(text: &Arc<[u8]>) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Writes all of a splice, in two bites where it is long enough.
pub fn flush(splice: &mut Splice, framer: &mut Framer, out: &mut Vec<u8>) {
    while !splice.is_empty() {
        let before = out.len();
        if let Some(bytes) = splice.slices(framer).find(|bytes| !bytes.is_empty()) {
            let bite = bytes.len().div_ceil(2);
            out.extend_from_slice(bytes.get(..bite).unwrap_or_default());
        }
        splice.written(out.len() - before);
    }
    framer.consume_framed();
}

/// What the sql room will say, for the plain statements that tests use.
pub fn effects(runs: &Runs<'_, Open>) -> SqlEffects {
    let whole = match runs {
        Runs::Query(text) => String::from_utf8_lossy(text).into_owned(),
        Runs::Execute(_, Some(portal)) => {
            let statement = portal.value.statement.as_ref();
            statement.and_then(|statement| statement.text()).map(text).unwrap_or_default()
        }
        _ => return SqlEffects::default(),
    };
    SqlEffects::new(whole.split(';').filter(|one| !one.trim().is_empty()).map(effect))
}

fn effect(statement: &str) -> SqlEffect {
    let words: Vec<String> = statement
        .split(|sign: char| sign.is_whitespace() || sign == '(' || sign == '"')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let name = |index: usize| Box::from(words.get(index).map_or("", |word| word).as_bytes());
    match words.first().map_or("", |word| word) {
        "prepare" => SqlEffect::Prepare {
            name: name(1),
            text: statement.as_bytes().into(),
            declared: Box::default(),
        },
        "deallocate" => SqlEffect::Deallocate(name(1)),
        "declare" => SqlEffect::Declare {
            name: name(1),
            holdable: statement.to_lowercase().contains("with hold"),
        },
        "discard" => SqlEffect::DiscardAll,
        "close" => SqlEffect::Close(name(1)),
        _ => SqlEffect::None,
    }
}

/// A recorded session.
pub struct Recording {
    pub name: String,
    pub lines: Vec<(Side, Vec<u8>)>,
}

impl Recording {
    pub fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|folder| folder.join("tests/corpora/wire_postgres"))
            .find(|folder| folder.is_dir())
            .unwrap();
        let mut all: Vec<Self> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "session"))
            .map(|path| Self {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                lines: std::fs::read_to_string(&path).unwrap().lines().filter_map(line).collect(),
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    pub fn one(name: &str) -> Self {
        Self::all().into_iter().find(|recording| recording.name == name).unwrap()
    }

    pub fn bytes(&self, side: Side) -> Vec<u8> {
        self.lines
            .iter()
            .filter(|(from, _)| *from == side)
            .flat_map(|(_, bytes)| bytes.clone())
            .collect()
    }
}

fn line(line: &str) -> Option<(Side, Vec<u8>)> {
    let (side, escaped) = line.split_once(' ')?;
    let side = match side {
        "C" => Side::Client,
        "S" => Side::Server,
        _ => return None,
    };
    let mut bytes = Vec::new();
    let mut signs = escaped.bytes();
    while let Some(sign) = signs.next() {
        if sign != b'\\' {
            bytes.push(sign);
            continue;
        }
        match signs.next() {
            Some(b'x') => {
                let digits = [signs.next().unwrap(), signs.next().unwrap()];
                bytes.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => bytes.push(other.unwrap()),
        }
    }
    Some((side, bytes))
}

/// Numbers that look random and are the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.throw() % bound.max(1) as u64) as usize
    }
}
