//! Operators as real processes, each with a home of its own, ended by their pid.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::proxy::Proxy;
use super::until;

/// Names the way in which the sources of all live tests watch, but of those that test the watching.
/// Without it they watch by inotify, which needs no root.
const WATCH: &str = "OSYNC_TEST_WATCH";
/// Patience with whatever should take a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Patience with a cutover or a whole run.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// The user that owns nothing.
const NOBODY: u32 = 65_534;
/// Where Debian puts the library.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The first of the ports that tests take for their sources: far from those that are found free,
/// which another test may find while a source is down.
const PORTS: u16 = 20_000;
/// How many of them each run of the tests has to itself.
const PORTS_PER_RUN: u16 = 1_000;

/// A port that nobody listens on, and that no other test of this run takes.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = PORTS + u16::try_from(std::process::id() % 10).unwrap_or(0) * PORTS_PER_RUN;
    let ports =
        std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS_PER_RUN);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(usize::from(PORTS_PER_RUN)).find(is_free).expect("One of a thousand ports is free")
}

/// A temporary directory with a source and a sink, their state, and what they print.
pub(crate) struct Pair {
    home: TempDir,
    source: Option<PathBuf>,
    port: Option<u16>,
    /// Where sinks find the source.
    host: String,
    /// How far the wall clock of what is started is off, as `faketime` takes it.
    clock: Option<&'static str>,
    started: u32,
    /// The binary that is run, and as whom if not as who runs the tests.
    binary: PathBuf,
    user: Option<u32>,
    /// The value of `--watch` for the source.
    watch: String,
    /// A command that the source is run by: its words, before those of the source.
    source_by: Vec<String>,
}

/// How a process ended, with all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or the signal that ended it.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// Fails unless the exit code is one of `codes`; shows what was said.
    #[track_caller]
    pub(crate) fn assert_code(&self, codes: &[i32]) -> &Ended {
        let fits = self.status.code().is_some_and(|code| codes.contains(&code));
        assert!(fits, "Exit code not in {codes:?}: {self:#?}");
        self
    }

    /// Fails unless standard error holds one of these words, whatever their case.
    #[track_caller]
    pub(crate) fn assert_says(&self, words: &[&str]) -> &Ended {
        let said = self.stderr.to_lowercase();
        assert!(words.iter().any(|word| said.contains(word)), "None of {words:?} in {self:#?}");
        self
    }
}

/// A running operator. Dropped, it is killed.
pub(crate) struct Operator {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Operator {
    fn spawn(mut command: Command, stem: &Path) -> Operator {
        let (stdout, stderr) = (stem.with_extension("out"), stem.with_extension("err"));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("A file for standard output"))
            .stderr(File::create(&stderr).expect("A file for standard error"));
        let child = command.spawn().expect("The osync binary starts");
        Operator { child, stdout, stderr }
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself meanwhile: then there is nothing to tell it.
        let _ = kill_process(pid.expect("A pid"), signal);
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.send(Signal::INT);
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// SIGTERM, and waits for the end that it asks for.
    #[track_caller]
    pub(crate) fn terminate_and_end(self) {
        self.terminate();
        self.end(SOON).assert_code(&[130]);
    }

    /// SIGSTOP: it stands still, and nobody is told.
    pub(crate) fn freeze(&self) {
        self.send(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub(crate) fn thaw(&self) {
        self.send(Signal::CONT);
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.send(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        lossy(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        lossy(&self.stderr)
    }

    /// Whether it has ended, and how.
    pub(crate) fn try_end(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().expect("A child can be waited for")?;
        Some(Ended { status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(mut self, patience: Duration) -> Ended {
        let started = std::time::Instant::now();
        loop {
            if let Some(ended) = self.try_end() {
                return ended;
            }
            assert!(
                started.elapsed() < patience,
                "Still running after {} s; it said:\n{}",
                patience.as_secs(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.send(Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.stderr.display(), self.stderr());
        }
    }
}

fn lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl Pair {
    /// Two empty directories and nothing running.
    pub(crate) fn new() -> Pair {
        let home = TempDir::with_prefix("osync-test-").expect("A temporary directory");
        for name in ["source", "sink", "run"] {
            fs::create_dir(home.path().join(name)).expect("A directory in it");
        }
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_osync"));
        Pair {
            home,
            source: None,
            port: None,
            host: "127.0.0.1".to_owned(),
            clock: None,
            started: 0,
            binary,
            user: None,
            watch: std::env::var(WATCH).unwrap_or_else(|_| "inotify".to_owned()),
            source_by: Vec::new(),
        }
    }

    /// The same, run by an ordinary user: by nobody, if root runs the tests. Such a one can't mark
    /// filesystems.
    pub(crate) fn of_ordinary_user() -> Pair {
        let mut pair = Pair::watching_by("inotify");
        if rustix::process::geteuid().is_root() {
            // Where the binary lies may be closed to others.
            let binary = pair.path("osync");
            fs::copy(&pair.binary, &binary).expect("A copy of the binary");
            (pair.binary, pair.user) = (binary, Some(NOBODY));
            give(pair.home.path(), NOBODY);
        }
        pair
    }

    /// Gives the source's tree to the user who runs the operators.
    pub(crate) fn give_source(&self) {
        if let Some(user) = self.user {
            give(&self.source_dir(), user);
        }
    }

    /// From now on sinks look for the source behind a proxy, which lays down its port.
    pub(crate) fn through(&mut self, proxy: &Proxy) {
        self.host = proxy.address.to_string();
        self.port = Some(proxy.port);
    }

    /// From now on what is started has another wall clock.
    pub(crate) fn set_clock(&mut self, step: &'static str) {
        self.clock = Some(step);
    }

    /// The same, with a source that watches in this way, whatever the environment says.
    pub(crate) fn watching_by(watch: &str) -> Pair {
        Pair { watch: watch.to_owned(), ..Pair::new() }
    }

    /// Has the source run by another command.
    pub(crate) fn run_source_by(&mut self, words: &[&str]) {
        self.source_by = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// A path in the temporary directory, beside both trees.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The source's directory.
    pub(crate) fn source_dir(&self) -> PathBuf {
        self.source.clone().unwrap_or_else(|| self.path("source"))
    }

    /// Takes another directory for the source's.
    pub(crate) fn set_source_dir(&mut self, dir: PathBuf) {
        self.source = Some(dir);
    }

    /// The sink's directory.
    pub(crate) fn sink_dir(&self) -> PathBuf {
        self.path("sink")
    }

    /// The port that the source told.
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("The source was started")
    }

    /// The binary, with an environment that touches nothing of the person who runs the tests.
    fn command(&self) -> Command {
        self.command_by(&[])
    }

    fn command_by(&self, words: &[String]) -> Command {
        let binary = self.binary.as_os_str();
        let mut words = words.iter().map(OsStr::new).chain([binary]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .args(words)
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("xdg-state"))
            .env_remove("OSYNC_INVITE")
            .current_dir(self.home.path());
        if let Some(step) = self.clock {
            // Only the wall clock: the network library waits by the other one.
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", step);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_RESET", "1");
            assert!(Path::new(FAKETIME).exists(), "Install the package faketime");
        }
        command
    }

    fn spawn(&mut self, command: Command, name: &str) -> Operator {
        self.started += 1;
        Operator::spawn(command, &self.path(&format!("{}-{name}", self.started)))
    }

    /// Starts any command of osync.
    pub(crate) fn start<A: AsRef<OsStr>>(&mut self, args: &[A]) -> Operator {
        let mut command = self.command();
        command.args(args);
        let name = args.first().map(|arg| arg.as_ref().to_string_lossy().into_owned());
        self.spawn(command, name.as_deref().unwrap_or("osync"))
    }

    /// Runs any command of osync to its end.
    #[track_caller]
    pub(crate) fn run<A: AsRef<OsStr>>(&mut self, args: &[A]) -> Ended {
        self.start(args).end(LONG)
    }

    /// Starts the source, always at the same port. Returns once it listens.
    #[track_caller]
    pub(crate) fn start_source(&mut self, more: &[&str]) -> Operator {
        let mut command = self.command_by(&self.source_by);
        command.arg("source").arg(self.source_dir()).args(["--watch", &self.watch]);
        command.arg("--port").arg(self.port.unwrap_or_else(free_port).to_string());
        command.arg("--bind").arg("127.0.0.1");
        command.arg("--state").arg(self.path("source-state"));
        command.arg("--invite-file").arg(self.path("invite")).args(more);
        let mut source = self.spawn(command, "source");
        let port = until("the source tells its port", SOON, || {
            if let Some(ended) = source.try_end() {
                panic!("The source ended at once: {ended:#?}");
            }
            port_told(&source.stdout())
        });
        self.port = Some(port);
        until("the source writes its invite", SOON, || self.path("invite").metadata().ok());
        source
    }

    /// Starts a sink for the source.
    pub(crate) fn start_sink(&mut self, more: &[&str]) -> Operator {
        let mut command = self.command();
        command.arg("sink").arg(format!("{}:{}", self.host, self.port())).arg(self.sink_dir());
        command.arg("--state").arg(self.path("sink-state"));
        command.arg("--invite-file").arg(self.path("invite")).args(more);
        self.spawn(command, "sink")
    }

    /// `osync local SRC DST`, with what else is wanted.
    pub(crate) fn start_local(&mut self, more: &[&str]) -> Operator {
        let mut args: Vec<OsString> =
            vec!["local".into(), self.source_dir().into(), self.sink_dir().into()];
        args.extend(["--state".into(), self.path("local-state").into()]);
        args.extend(["--watch".into(), self.watch.clone().into()]);
        args.extend(more.iter().map(Into::into));
        self.start(&args)
    }

    /// What `osync status --json` says of a directory.
    #[track_caller]
    pub(crate) fn status(&mut self, dir: &Path) -> Value {
        let ended = self.run(&[OsStr::new("status"), dir.as_os_str(), OsStr::new("--json")]);
        serde_json::from_str(ended.stdout.trim())
            .unwrap_or_else(|error| panic!("No JSON from status ({error}): {ended:#?}"))
    }

    /// Waits until the sink's status fulfils a wish; returns that status.
    #[track_caller]
    pub(crate) fn until_status(
        &mut self,
        wish: &str,
        patience: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let dir = self.sink_dir();
        until(wish, patience, || Some(self.status(&dir)).filter(&fits))
    }

    /// Waits until the sink is in the transfer phase, whatever is left to do.
    #[track_caller]
    pub(crate) fn until_together(&mut self) {
        self.until_status("source and sink are together", SOON, |status| {
            status["phase"] == "transfer" && status["state"] != "WAITING"
        });
    }

    /// Waits until all that is known is settled at the sink.
    #[track_caller]
    pub(crate) fn until_ready(&mut self) -> Value {
        self.until_status("the pair is READY", LONG, |status| {
            status["state"] == "READY" && status["backlog_known"] == true
        })
    }

    /// Ends the session from the sink's host; returns how the command ended.
    #[track_caller]
    pub(crate) fn cutover(&mut self) -> Ended {
        let dir = self.sink_dir();
        self.run(&[OsStr::new("cutover"), dir.as_os_str()])
    }

    /// The report that an operator wrote with `--report NAME`.
    #[track_caller]
    pub(crate) fn report(&self, name: &str) -> Value {
        let bytes = fs::read(self.path(name)).expect("A report was written");
        serde_json::from_slice(&bytes).expect("A report is JSON")
    }

    /// An argument that is a path in the temporary directory.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("Temporary paths are UTF-8")
    }
}

/// Gives a tree, with all in it, to a user.
fn give(tree: &Path, user: u32) {
    for entry in walkdir::WalkDir::new(tree) {
        let entry = entry.expect("A tree of one's own");
        std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).expect("Root may do that");
    }
}

/// The port that the first line of a source tells, whether it speaks to people or in JSON.
fn port_told(stdout: &str) -> Option<u16> {
    let (line, _) = stdout.split_once('\n')?;
    if let Some(port) = line.strip_prefix("osync source: command service on port ") {
        return port.trim().parse().ok();
    }
    let event: Value = serde_json::from_str(line).ok()?;
    if event["event"] == "service" { event["port"].as_u64()?.try_into().ok() } else { None }
}

#[test]
fn the_port_is_read_from_the_first_line() {
    assert_eq!(port_told("osync source: command service on port 9753\n"), Some(9753));
    assert_eq!(port_told("{\"event\":\"service\",\"port\":9760}\n{}"), Some(9760));
    assert_eq!(port_told("osync source: command service on port 97"), None);
    assert_eq!(port_told("osync sink: hello\n"), None);
}
