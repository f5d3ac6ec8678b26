//! The operator's end of the control socket: one thread accepts, one each serves a connection.
//!
//! - The socket bears its final name only once it listens, so nobody meets a half-built one.
//! - A name whose socket nobody listens at is a leftover and is replaced; one that answers is
//!   another operator on the same directory, and is refused.
//! - A socket that goes unread holds up nobody but its own thread, and that for a bounded time.

use std::collections::{HashMap, VecDeque};
use std::fs::Permissions;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::control::client::read_line;
use crate::control::place::{self, Names};
use crate::control::{ControlReply, ControlRequest, ResultObject};
use crate::error::Error;
use crate::model::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_RESULTS_MAX};
use crate::model::status::Role;

/// Patience with somebody who does not read what was asked for.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

type Handler = dyn Fn(&ControlRequest) -> ControlReply + Send + Sync;

/// A control socket with the threads that serve it; dropped, it ends them and takes the socket
/// away.
pub struct ControlServer {
    shared: Arc<Shared>,
    bound: Bound,
    /// Wakes the accepting thread when it is dropped.
    wake: Option<UnixStream>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    board: Mutex<Board>,
    changed: Condvar,
}

#[derive(Default)]
struct Board {
    closing: bool,
    /// Number of results announced so far.
    announced: u64,
    /// The last of them, with their numbers.
    results: VecDeque<(u64, ResultObject)>,
    /// The connections that are open.
    streams: HashMap<u64, UnixStream>,
    connections: u64,
}

struct Bound {
    listener: UnixListener,
    socket: PathBuf,
    identity: (u64, u64),
    links: Vec<PathBuf>,
}

impl ControlServer {
    /// Listens for this operator and answers through `handler`, which runs in other threads, must
    /// answer soon, and refuses once the operator ends.
    ///
    /// The directory has to exist. Another operator of the same role on it is
    /// [`Error::Refused`].
    pub fn start(
        directory: &Path,
        role: Role,
        handler: impl Fn(&ControlRequest) -> ControlReply + Send + Sync + 'static,
    ) -> Result<ControlServer, Error> {
        let bound = Bound::bind(directory, role)?;
        let failed = |error| Error::disk("Can't serve the control socket", &bound.socket, error);
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            board: Mutex::default(),
            changed: Condvar::new(),
        });
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        let listener = bound.listener.try_clone().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let theirs = Arc::clone(&shared);
        let accepting = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&theirs, &listener, &woken))
            .map_err(failed)?;
        Ok(ControlServer { shared, bound, wake: Some(wake), accepting: Some(accepting) })
    }

    /// Tells how a session ended to all who wait for it. Call it before the server is dropped.
    pub fn announce(&self, result: ResultObject) {
        let mut board = self.shared.board();
        board.announced += 1;
        let number = board.announced;
        board.results.push_back((number, result));
        if board.results.len() > CONTROL_RESULTS_MAX {
            board.results.pop_front();
        }
        drop(board);
        self.shared.changed.notify_all();
    }

    /// Where the socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.bound.socket
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.bound.remove();
        let mut board = self.shared.board();
        board.closing = true;
        for stream in board.streams.values() {
            // Whoever waits for a request gets the end; what is being written still goes out.
            let _ = stream.shutdown(Shutdown::Read);
        }
        drop(board);
        self.shared.changed.notify_all();
        self.wake = None;
        if let Some(accepting) = self.accepting.take() {
            // A thread that panicked has said so itself.
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, unless there are too many or all is ending.
    fn admit(&self, stream: &UnixStream) -> Option<u64> {
        let copy = stream.try_clone().ok()?;
        let mut board = self.board();
        if board.closing || board.streams.len() >= CONTROL_CONNECTIONS_MAX {
            return None;
        }
        board.connections += 1;
        let number = board.connections;
        board.streams.insert(number, copy);
        Some(number)
    }

    /// Answers the requests of one connection until it ends.
    fn serve(&self, number: u64, stream: &UnixStream) {
        // An error here is the asker's, who sees it too.
        let _ = self.converse(stream);
        self.board().streams.remove(&number);
    }

    fn converse(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let mut reader = BufReader::new(stream);
        while let Some(line) = read_line(&mut reader)? {
            match serde_json::from_slice(&line) {
                Ok(ControlRequest::Await { sink }) => {
                    let after = self.board().announced;
                    reply(stream, &ControlReply::done("waiting"))?;
                    reply(stream, &self.await_result(after, sink.as_deref()))?;
                }
                Ok(request) => reply(stream, &(self.handler)(&request))?,
                Err(error) => {
                    let text = format!("The request makes no sense: {error}");
                    reply(stream, &ControlReply::Refused { text })?;
                }
            }
        }
        Ok(())
    }

    fn await_result(&self, after: u64, sink: Option<&str>) -> ControlReply {
        let is_meant = |(number, result): &&(u64, ResultObject)| {
            *number > after
                && (sink.is_none() || result.sink.is_none() || result.sink.as_deref() == sink)
        };
        let mut board = self.board();
        loop {
            if let Some((_, result)) = board.results.iter().find(is_meant) {
                return ControlReply::Result(Box::new(result.clone()));
            }
            if board.closing {
                return ControlReply::refused(
                    "The operator ended without a result; see its own output",
                );
            }
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn reply(mut stream: &UnixStream, reply: &ControlReply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Accepts until `woken` is at its end, then waits for the connections to end.
fn accept(shared: &Arc<Shared>, listener: &UnixListener, woken: &UnixStream) {
    let mut serving: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(woken.as_fd(), PollFlags::IN),
        ];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if !ready[1].revents().is_empty() {
            break;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        serving.retain(|thread| !thread.is_finished());
        let Some(number) = shared.admit(&stream) else { continue };
        let theirs = Arc::clone(shared);
        let serve = move || theirs.serve(number, &stream);
        match std::thread::Builder::new().name("control".into()).spawn(serve) {
            Ok(thread) => serving.push(thread),
            Err(_) => drop(shared.board().streams.remove(&number)),
        }
    }
    for thread in serving {
        let _ = thread.join();
    }
}

impl Bound {
    fn bind(directory: &Path, role: Role) -> Result<Bound, Error> {
        let names = Names::of(directory, role);
        let Some(name) = &names.by_identity else {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::disk("Can't find the directory", directory, error));
        };
        let place = place::open()?;
        let socket = place.join(name);
        if UnixStream::connect(&socket).is_ok() {
            return Err(Error::Refused(format!(
                "Another osync {role} works on \"{}\" already: see `osync status`",
                directory.display()
            )));
        }
        let failed = |error: io::Error| Error::disk("Can't bind", &socket, error);
        let draft = place.join(format!("{name}.{}", std::process::id()));
        remove(&draft);
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        std::fs::set_permissions(&draft, Permissions::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&draft, &socket).map_err(failed)?;
        let meta = socket.symlink_metadata().map_err(failed)?;
        let identity = (meta.dev(), meta.ino());
        forget_links(&place, name);
        let links = names.by_path.iter().filter_map(|link| point(&place, link, name)).collect();
        Ok(Bound { listener, socket, identity, links })
    }

    /// Takes away what is still ours.
    fn remove(&self) {
        let Ok(meta) = self.socket.symlink_metadata() else { return };
        if (meta.dev(), meta.ino()) != self.identity {
            return;
        }
        for link in &self.links {
            let ours = std::fs::read_link(link)
                .is_ok_and(|target| Some(target.as_os_str()) == self.socket.file_name());
            if ours {
                remove(link);
            }
        }
        remove(&self.socket);
    }
}

/// Makes a link to the socket beside it. Without it the operator is found by identity still.
fn point(place: &Path, link: &str, name: &str) -> Option<PathBuf> {
    let draft = place.join(format!("{link}.{}", std::process::id()));
    remove(&draft);
    std::os::unix::fs::symlink(name, &draft).ok()?;
    let link = place.join(link);
    std::fs::rename(&draft, &link).ok()?;
    Some(link)
}

/// Removes links that a killed operator left to this name, which is ours now: its directory may
/// have been another one, with the same inode in its time.
fn forget_links(place: &Path, name: &str) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == name) {
            remove(&entry.path());
        }
    }
}

/// Removes a name that may be missing; a leftover is replaced by the next operator.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::ControlServer;
    use crate::control::{ControlReply, ControlRequest, ResultObject, find_operator};
    use crate::ended::{EndKind, Ended};
    use crate::error::Error;
    use crate::model::status::Role;

    fn echo(request: &ControlRequest) -> ControlReply {
        ControlReply::done(format!("{request:?}"))
    }

    #[test]
    fn an_operator_is_found_asked_and_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find_operator(dir.path()), None);
        let server = ControlServer::start(dir.path(), Role::Sink, echo).unwrap();
        let mode = server.socket().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let operator = find_operator(dir.path()).unwrap();
        assert_eq!(operator.role, Role::Sink);
        let reply = operator.ask(&ControlRequest::Status).unwrap();
        assert_eq!(reply, ControlReply::done("Status"));
        let second = ControlServer::start(dir.path(), Role::Sink, echo);
        assert!(matches!(second, Err(Error::Refused(_))));
        drop(server);
        assert_eq!(find_operator(dir.path()), None);
    }

    #[test]
    fn an_operator_is_found_by_its_path_when_the_directory_was_moved_away() {
        let dir = tempfile::tempdir().unwrap();
        let (pool, away) = (dir.path().join("pool"), dir.path().join("away"));
        std::fs::create_dir(&pool).unwrap();
        let server = ControlServer::start(&pool, Role::Source, echo).unwrap();
        std::fs::rename(&pool, &away).unwrap();
        assert!(find_operator(&pool).is_some());
        assert!(find_operator(&away).is_some());
        drop(server);
        assert!(find_operator(&pool).is_none());
    }

    #[test]
    fn a_link_left_behind_does_not_lead_to_a_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let server = ControlServer::start(dir.path(), Role::Sink, echo).unwrap();
        let socket = server.socket().to_owned();
        drop(server);
        let left = socket.with_file_name(format!("sink-at-left-{}", std::process::id()));
        std::os::unix::fs::symlink(socket.file_name().unwrap(), &left).unwrap();
        let server = ControlServer::start(dir.path(), Role::Sink, echo).unwrap();
        assert!(left.symlink_metadata().is_err());
        drop(server);
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let server = ControlServer::start(dir.path(), Role::Sink, echo).unwrap();
        let socket = server.socket().to_owned();
        drop(server);
        drop(UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        let server = ControlServer::start(dir.path(), Role::Sink, echo).unwrap();
        assert!(find_operator(dir.path()).is_some());
        drop(server);
        assert!(!socket.exists());
    }

    #[test]
    fn who_waits_gets_the_result_of_the_sink_meant_or_the_bad_news() {
        let dir = tempfile::tempdir().unwrap();
        let server = ControlServer::start(dir.path(), Role::Source, echo).unwrap();
        let operator = find_operator(dir.path()).unwrap();
        let any = operator.begin_waiting(None).unwrap();
        let second = operator.begin_waiting(Some("b".into())).unwrap();
        let third = operator.begin_waiting(Some("c".into())).unwrap();
        let result = |sink: &str| ResultObject::of(&Ok(Ended::Interrupted)).of_sink(sink);
        server.announce(result("a"));
        server.announce(result("b"));
        drop(server);
        assert_eq!(any.result().unwrap().sink.as_deref(), Some("a"));
        let second = second.result().unwrap();
        assert_eq!((second.sink.as_deref(), second.outcome), (Some("b"), EndKind::Interrupted));
        assert!(third.result().is_err());
    }

    #[test]
    fn nonsense_is_answered() {
        use std::io::{BufRead, BufReader, Write};
        let dir = tempfile::tempdir().unwrap();
        let server = ControlServer::start(dir.path(), Role::Source, echo).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
        stream.write_all(b"{\"request\":\"dance\"}\n\xff\n").unwrap();
        let mut lines = BufReader::new(stream).lines();
        for _ in 0..2 {
            assert!(lines.next().unwrap().unwrap().contains("\"refused\""));
        }
    }
}
