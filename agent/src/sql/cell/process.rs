//! The parser as a process: what is too large to be parsed among others is sent to
//! it and may be its end.
//!
//! ```text
//! agent --u32 length, request--> parser --u32 length, facts--> agent
//! ```
//!
//! The agent gets the connected pipe from whoever may start processes; [`ask`] is
//! its side, [`serve`] the other.

use std::io::{self, Read, Write};
use std::thread;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::super::facts::Facts;
use super::super::read::Bounds;
use super::super::state::LexingState;
use super::{STACK, attempt};

/// Both ends of a connection in one.
pub trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

#[derive(Serialize, Deserialize)]
struct Request<'t> {
    state: LexingState,
    #[serde(borrow)]
    text: &'t [u8],
}

/// Facts of so many bytes and more are not taken.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The text and the state around it.
const LONGEST_REQUEST: usize = Bounds::PROCESS.bytes + 64 * 1024;

/// Asks the process at the other end of the pipe. After an error the pipe is out of
/// step and of no more use.
pub fn ask(pipe: &mut (impl Read + Write), text: &[u8], state: &LexingState) -> io::Result<Facts> {
    let request = Request { state: state.clone(), text };
    send(pipe, &postcard::to_stdvec(&request).map_err(io::Error::other)?)?;
    let answer = receive(pipe, LONGEST_ANSWER)?
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    postcard::from_bytes(&answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Answers until the input ends. Reads each text on a thread with a large stack.
pub fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    while let Some(request) = receive(&mut input, LONGEST_REQUEST)? {
        let facts = thread::Builder::new()
            .name("sql-parser".into())
            .stack_size(STACK)
            .spawn(move || {
                let request: Request<'_> = postcard::from_bytes(&request)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                Ok::<_, io::Error>(attempt(request.text, &request.state, Bounds::PROCESS))
            })?
            .join()
            .map_err(|_| io::Error::other("the parser's thread ended in a panic"))??;
        send(&mut output, &postcard::to_stdvec(&facts).map_err(io::Error::other)?)?;
        output.flush()?;
    }
    Ok(())
}

/// What a parser process may take. To be called in it before [`serve`].
pub fn confine() -> io::Result<()> {
    let exactly = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, exactly(MOST_MEMORY))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(0))?;
    // The three it has; no further file, socket or pipe.
    setrlimit(Resource::Nofile, exactly(3))?;
    Ok(())
}

/// Address space: the stack, the program, and room for a large text's tree.
const MOST_MEMORY: u64 = 2 * 1024 * 1024 * 1024;

fn send(pipe: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "message of 4 GiB or more"))?;
    pipe.write_all(&length.to_be_bytes())?;
    pipe.write_all(body)?;
    pipe.flush()
}

/// One message; `None` at a clean end.
fn receive(pipe: &mut impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut first = [0; 1];
    if pipe.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut rest = [0; 3];
    pipe.read_exact(&mut rest)?;
    length.iter_mut().zip(first.iter().chain(&rest)).for_each(|(to, from)| *to = *from);
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("message of {length} bytes, more than the {limit} that may come"),
        ));
    }
    let mut body = vec![0; length];
    pipe.read_exact(&mut body)?;
    Ok(Some(body))
}

#[cfg(test)]
mod tests;
