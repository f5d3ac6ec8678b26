//! Asks a running operator, found by its directory alone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::place::{self, Names};
use crate::control::{ControlReply, ControlRequest, ResultObject};
use crate::error::Error;
use crate::model::limits::CONTROL_LINE_BYTES_MAX;
use crate::model::status::Role;

/// Patience with an operator that is asked something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running operator that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Which of the two.
    pub role: Role,
    socket: PathBuf,
}

/// Somebody who waits for a session to end.
#[derive(Debug)]
pub struct Waiting(BufReader<UnixStream>);

/// Finds the operator that works on a directory: a source first, else a sink.
///
/// The directory may have gone: its path is tried too. `None` if no operator of this user is
/// there.
pub fn find_operator(directory: &Path) -> Option<Operator> {
    let roles = [Role::Source, Role::Sink];
    let names = roles.map(|role| (role, Names::of(directory, role)));
    let places: Vec<PathBuf> =
        place::candidates().into_iter().filter(|place| place::is_private(place).is_ok()).collect();
    let by_identity = names
        .iter()
        .flat_map(|(role, names)| names.by_identity.iter().map(|name| (*role, name.clone())));
    let by_path = names
        .iter()
        .flat_map(|(role, names)| names.by_path.iter().map(|name| (*role, name.clone())));
    for (role, name) in by_identity.chain(by_path) {
        for place in &places {
            let socket = place.join(&name);
            if UnixStream::connect(&socket).is_ok() {
                return Some(Operator { role, socket });
            }
        }
    }
    None
}

impl Operator {
    /// Asks one thing; `Await` is not for here. An operator that has gone is [`Error::Network`].
    pub fn ask(&self, request: &ControlRequest) -> Result<ControlReply, Error> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| self.lost(&error))?;
        self.send(&mut stream, request)?;
        self.receive(&mut BufReader::new(stream))
    }

    /// Begins to wait for the end of a session: an end from now on is not missed.
    pub fn begin_waiting(&self, sink: Option<String>) -> Result<Waiting, Error> {
        let mut stream = self.connect()?;
        self.send(&mut stream, &ControlRequest::Await { sink })?;
        let mut reader = BufReader::new(stream);
        match self.receive(&mut reader)? {
            ControlReply::Refused { text } => Err(Error::Network(text)),
            _ => Ok(Waiting(reader)),
        }
    }

    fn connect(&self) -> Result<UnixStream, Error> {
        UnixStream::connect(&self.socket).map_err(|error| self.lost(&error))
    }

    fn send(&self, stream: &mut UnixStream, request: &ControlRequest) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Error::Protocol(format!("Can't put the request in words: {error}")))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(|error| self.lost(&error))
    }

    fn receive(&self, reader: &mut BufReader<UnixStream>) -> Result<ControlReply, Error> {
        let line = read_line(reader).map_err(|error| self.lost(&error))?;
        match line {
            Some(line) => parse(&line),
            None => Err(Error::Network(format!("The {} ended before it answered", self.role))),
        }
    }

    fn lost(&self, error: &io::Error) -> Error {
        Error::Network(format!("The {} does not answer at its control socket: {error}", self.role))
    }
}

impl Waiting {
    /// Blocks until the session has ended.
    pub fn result(mut self) -> Result<ResultObject, Error> {
        let line = read_line(&mut self.0)
            .map_err(|error| Error::Network(format!("Lost the operator: {error}")))?;
        match line.as_deref().map(parse).transpose()? {
            Some(ControlReply::Result(result)) => Ok(*result),
            Some(ControlReply::Refused { text }) => Err(Error::Network(text)),
            Some(_) => Err(Error::Protocol("The operator answered something else".into())),
            None => Err(Error::Network(
                "The operator went away without a result; see its own output".into(),
            )),
        }
    }
}

/// Reads one line; `None` at the end of the stream.
pub(super) fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(CONTROL_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        None => Ok(None),
        Some(_) => Err(io::Error::other("the line is too long or was cut short")),
    }
}

fn parse(line: &[u8]) -> Result<ControlReply, Error> {
    serde_json::from_slice(line)
        .map_err(|error| Error::Protocol(format!("The operator's answer makes no sense: {error}")))
}
