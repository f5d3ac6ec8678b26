//! One of everything that travels. Each `match` below fails to compile when a variant is added: it
//! then wants a name, and the tests want one in the zoo.

use std::collections::BTreeSet;

use osync::model::abilities::Abilities;
use osync::model::attributes::{Carried, Flags, Marks, Xattr};
use osync::model::delta::{Basis, Piece};
use osync::model::entry::{Attributes, Entry, FileTime, Hash, Meta, SpecialKind};
use osync::model::marker::{Marker, MarkerId};
use osync::model::message::{Body, ListingAnswer, MessageAnswer, Picked, Report};
use osync::model::op::{
    Answer, Failure, Listed, ListingEnd, ListingPart, Need, Op, Operation, Spared, Version,
};
use osync::model::path::{Name, RelPath};
use osync::model::session::{
    Credit, DeletePolicy, Ending, Figures, FinalReport, FreeRoom, Outcome, Partial, PhaseTag,
    ProblemLine, Shortfall, Trust,
};
use osync::model::stamp::{Epoch, Lane, Stamp};
use osync::wire::command::{Alive, Heartbeat, Refusal, Registered, Registration, Reply, Request};
use osync::wire::data::Header;

/// Values with the name of each.
type Named<V> = Vec<(String, V)>;

fn path() -> RelPath {
    RelPath::new("dir/name").unwrap()
}

fn raw_path() -> RelPath {
    RelPath::new(&b"raw/\xff\n"[..]).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

const MTIME: FileTime = FileTime { seconds: -7, nanos: 999_999_999 };
const META: Meta = Meta {
    mode: 0o7755,
    uid: u32::MAX,
    gid: 1_000,
    mtime: MTIME,
    flags: Flags::NODUMP,
    marks: Some(Marks([0, 1, 0, u64::MAX])),
};

fn attributes() -> Attributes {
    let xattr = |name: &str| Xattr { name: name.into(), value: b"\0\xff".to_vec() };
    let xattrs = vec![xattr("system.posix_acl_access"), xattr("user.\u{e9}")];
    Attributes { meta: META, xattrs, atime: Some(MTIME), holes: true }
}

fn hash() -> Hash {
    Hash(std::array::from_fn(|index| index as u8 * 7))
}

/// Names each value and sees to it that no name is missing or there twice.
fn named<V>(
    values: Vec<V>,
    of: impl Fn(&V) -> (&'static str, &'static [&'static str]),
) -> Named<V> {
    let mut seen = BTreeSet::new();
    let mut all = BTreeSet::new();
    let mut named = Vec::new();
    for value in values {
        let (name, names) = of(&value);
        assert!(names.contains(&name), "{name} is not among the names of its kind");
        assert!(seen.insert(name), "{name} is there twice");
        all.extend(names);
        named.push((name.to_string(), value));
    }
    assert_eq!(seen, all, "the zoo lacks one");
    named
}

fn versions() -> Named<Version> {
    let all = vec![
        Version::Dir,
        Version::File { size: u64::MAX, mtime: MTIME, hash: Some(hash()) },
        Version::Symlink { mtime: MTIME },
        Version::Special { mtime: MTIME },
    ];
    named(all, |version| {
        let name = match version {
            Version::Dir => "dir",
            Version::File { .. } => "file",
            Version::Symlink { .. } => "symlink",
            Version::Special { .. } => "special",
        };
        (name, &["dir", "file", "symlink", "special"])
    })
}

fn ops() -> Named<Op> {
    let (size, hash) = (3, hash());
    let all = vec![
        Op::Put { path: path(), size, attributes: Attributes::plain(META), hash },
        Op::Commit { path: path(), transfer: 9, size, attributes: attributes(), hash },
        Op::Symlink { path: path(), target: b"../\xff".to_vec(), attributes: attributes() },
        Op::Special {
            path: path(),
            kind: SpecialKind::Block,
            device: 0x0801,
            attributes: attributes(),
        },
        Op::MakeDir { path: raw_path() },
        Op::SetMeta {
            path: RelPath::root(),
            presumes: Version::Dir,
            attributes: attributes(),
            names: 0,
        },
        Op::Remove { path: path(), spared: Spared::Others },
        Op::Rename { from: path(), to: raw_path(), presumes: Version::Symlink { mtime: MTIME } },
        Op::Exchange { a: path(), b: raw_path() },
        Op::Link {
            path: path(),
            from: raw_path(),
            presumes: Version::File { size, mtime: MTIME, hash: None },
            since: Stamp(7),
        },
    ];
    named(all, |op| {
        let name = match op {
            Op::Put { .. } => "put",
            Op::Commit { .. } => "commit",
            Op::Symlink { .. } => "symlink",
            Op::Special { .. } => "special",
            Op::MakeDir { .. } => "make-dir",
            Op::SetMeta { .. } => "set-meta",
            Op::Remove { .. } => "remove",
            Op::Rename { .. } => "rename",
            Op::Exchange { .. } => "exchange",
            Op::Link { .. } => "link",
        };
        let names = &[
            "put", "commit", "symlink", "special", "make-dir", "set-meta", "remove", "rename",
            "exchange", "link",
        ];
        (name, names)
    })
}

fn entries() -> Vec<Listed> {
    let special = |kind| Entry::Special { kind, device: 0x0103, meta: META };
    let all = vec![
        Entry::File { size: 0, meta: META },
        Entry::Dir { meta: META },
        Entry::Symlink { target: b"\0not text".to_vec(), meta: META },
        special(SpecialKind::Fifo),
        special(SpecialKind::Socket),
        special(SpecialKind::Character),
        special(SpecialKind::Block),
    ];
    let named = named(all, |entry| {
        let name = match entry {
            Entry::File { .. } => "file",
            Entry::Dir { .. } => "dir",
            Entry::Symlink { .. } => "symlink",
            Entry::Special { kind: SpecialKind::Fifo, .. } => "fifo",
            Entry::Special { kind: SpecialKind::Socket, .. } => "socket",
            Entry::Special { kind: SpecialKind::Character, .. } => "character",
            Entry::Special { kind: SpecialKind::Block, .. } => "block",
        };
        (name, &["file", "dir", "symlink", "fifo", "socket", "character", "block"])
    });
    named.into_iter().map(|(text, entry)| Listed { name: name(&text), entry }).collect()
}

fn ends() -> Named<ListingEnd> {
    let all = vec![ListingEnd::More, ListingEnd::Complete, ListingEnd::Abandoned];
    named(all, |end| {
        let name = match end {
            ListingEnd::More => "more",
            ListingEnd::Complete => "complete",
            ListingEnd::Abandoned => "abandoned",
        };
        (name, &["more", "complete", "abandoned"])
    })
}

fn bodies() -> Named<Body> {
    let stamp = Stamp(u64::MAX);
    let mut bodies = Vec::new();
    for (name, op) in ops() {
        bodies.push((name, Body::Operations(vec![Operation { stamp, op }])));
    }
    for (name, presumes) in versions() {
        let op = Op::SetMeta { path: path(), presumes, attributes: attributes(), names: 2 };
        let body = Body::Operations(vec![Operation { stamp, op }]);
        bodies.push((format!("presumes-{name}"), body));
    }
    for (kind, end) in ends() {
        let (dir, entries) = (raw_path(), entries());
        let others = vec![name("first"), name("second")];
        let (linked, after) = (vec![(0, path())], Some(name("after")));
        let part =
            ListingPart { listing: 5, dir, stamp, part: 6, entries, others, linked, end, after };
        bodies.push((format!("listing-{kind}"), Body::Listing(part)));
    }
    bodies.push(("chunk".into(), Body::Chunk { transfer: 8, offset: 1 << 40, holes: true }));
    let of = Basis { size: 1 << 33, mtime: FileTime { seconds: -1, nanos: 7 } };
    bodies.push(("sign".into(), Body::Sign { path: raw_path() }));
    bodies.push(("basis".into(), Body::Basis { transfer: 8, path: raw_path(), of }));
    let pieces = vec![
        Piece { offset: 0, bytes: 1 << 20, from: Some(1 << 32) },
        Piece { offset: 1 << 20, bytes: 5, from: None },
    ];
    bodies.push(("delta".into(), Body::Delta { transfer: 8, holes: true, pieces }));
    bodies.push(("drop".into(), Body::Drop { transfer: 8 }));
    let kinds: BTreeSet<&str> = bodies
        .iter()
        .map(|(_, body)| match body {
            Body::Operations(_) => "operations",
            Body::Listing(_) => "listing",
            Body::Chunk { .. } => "chunk",
            Body::Sign { .. } => "sign",
            Body::Basis { .. } => "basis",
            Body::Delta { .. } => "delta",
            Body::Drop { .. } => "drop",
        })
        .collect();
    assert_eq!(kinds.len(), 7);
    bodies
}

/// Headers with every body, on both lanes.
pub fn headers() -> Named<Header> {
    let header = |((name, body), lane): ((String, Body), Lane)| {
        let (epoch, sequence, watermark) = (Epoch(3), 1 << 33, Stamp(77));
        (name, Header { epoch, lane, sequence, watermark, body, packed: None })
    };
    let mut headers: Named<_> =
        bodies().into_iter().zip(Lane::ALL.into_iter().cycle()).map(header).collect();
    let packed = headers.iter().find(|(_, header)| matches!(header.body, Body::Chunk { .. }));
    let packed = packed.map(|(_, header)| Header { packed: Some(1 << 19), ..header.clone() });
    headers.extend(packed.map(|header| ("chunk-packed".to_owned(), header)));
    headers
}

fn answers() -> Named<Answer> {
    let names = vec![name("a"), name("b")];
    let all = vec![
        Answer::Applied,
        Answer::Superseded,
        Answer::Needed(Need::Content),
        Answer::Needed(Need::Parent),
        Answer::Needed(Need::Remains { dir: raw_path(), names }),
        Answer::Needed(Need::Spared { path: raw_path() }),
        Answer::Needed(Need::Transfer),
        Answer::Failed(Failure::NoRoom),
        Answer::Failed(Failure::ReadOnly),
        Answer::Failed(Failure::Forbidden("not here".into())),
        Answer::Failed(Failure::Other("Input/output error".into())),
    ];
    named(all, |answer| {
        let name = match answer {
            Answer::Applied => "applied",
            Answer::Superseded => "superseded",
            Answer::Needed(Need::Content) => "content",
            Answer::Needed(Need::Parent) => "parent",
            Answer::Needed(Need::Remains { .. }) => "remains",
            Answer::Needed(Need::Spared { .. }) => "spared",
            Answer::Needed(Need::Transfer) => "transfer",
            Answer::Failed(Failure::NoRoom) => "no-room",
            Answer::Failed(Failure::ReadOnly) => "read-only",
            Answer::Failed(Failure::Forbidden(_)) => "forbidden",
            Answer::Failed(Failure::Other(_)) => "other",
        };
        let names = &[
            "applied",
            "superseded",
            "content",
            "parent",
            "remains",
            "spared",
            "transfer",
            "no-room",
            "read-only",
            "forbidden",
            "other",
        ];
        (name, names)
    })
}

fn picks() -> Named<Picked> {
    let all = vec![Picked::None, Picked::All, Picked::Ranges(vec![(0, 1), (7, u32::MAX)])];
    named(all, |picked| {
        let name = match picked {
            Picked::None => "none",
            Picked::All => "all",
            Picked::Ranges(_) => "ranges",
        };
        (name, &["none", "all", "ranges"])
    })
}

/// Reports with every answer.
pub fn reports() -> Named<Report> {
    let message = |exceptions, listing| MessageAnswer {
        lane: Lane::Backlog,
        sequence: 12,
        exceptions,
        made: vec![path(), raw_path()],
        lacking: vec![(3, "No room for user.a".into())],
        listing,
        signature: b"osg1".to_vec(),
    };
    let report = |answers| Report {
        epoch: Epoch(3),
        number: 4,
        answers,
        durable_through: 2,
        barrier: 1,
        disturbed: vec![raw_path()],
        inspected: true,
    };
    let mut reports = vec![("empty".to_string(), report(vec![]))];
    for (name, answer) in answers() {
        let failed = ListingAnswer { failed: Some(answer.clone()), ..ListingAnswer::equal(5, 6) };
        let answers = vec![message(vec![(2, answer)], None), message(vec![], Some(failed))];
        reports.push((format!("answer-{name}"), report(answers)));
    }
    for (text, picked) in picks() {
        let listing = ListingAnswer {
            needed: picked.clone(),
            absent: picked.clone(),
            retouch: picked.clone(),
            apart: picked.clone(),
            superseded: picked.clone(),
            made: picked,
            extras: vec![name("extra")],
            more_extras: true,
            ..ListingAnswer::equal(5, 6)
        };
        reports.push((format!("picked-{text}"), report(vec![message(vec![], Some(listing))])));
    }
    reports
}

const FREE: FreeRoom = FreeRoom { bytes: 4_096, inodes: Some(16) };

fn endings() -> [Option<Ending>; 3] {
    let next = |ending: Option<Ending>| match ending {
        None => Some(Ending::Cutover),
        Some(Ending::Cutover) => Some(Ending::Once),
        Some(Ending::Once) => None,
    };
    [None, next(None), next(next(None))]
}

/// Every request, with every way to end and every policy.
pub fn requests() -> Named<Request> {
    let epoch = Epoch(3);
    let heartbeat = |trouble| Heartbeat {
        epoch,
        seen: [1, 2],
        reports_sent: 3,
        trouble,
        room: Some(FREE),
        bwlimit: Some(9),
    };
    let mut all = named(
        vec![
            Request::Greet,
            Request::Introduce { public_key: vec![7; 32], dry: true },
            Request::Register(registration(DeletePolicy::Live, None)),
            Request::EnsureReadiness { epoch },
            Request::Heartbeat(heartbeat(Some("No room".into()))),
            Request::Unregister { epoch, ending: Ending::Cutover },
            Request::Leave { epoch },
        ],
        |request| {
            let name = match request {
                Request::Greet => "greet",
                Request::Introduce { .. } => "introduce",
                Request::Register(_) => "register",
                Request::EnsureReadiness { .. } => "ensure-readiness",
                Request::Heartbeat(_) => "heartbeat",
                Request::Unregister { .. } => "unregister",
                Request::Leave { .. } => "leave",
            };
            let names = &[
                "greet",
                "introduce",
                "register",
                "ensure-readiness",
                "heartbeat",
                "unregister",
                "leave",
            ];
            (name, names)
        },
    );
    let policies = vec![DeletePolicy::Never, DeletePolicy::Live, DeletePolicy::All];
    let policies = named(policies, |policy| {
        let name = match policy {
            DeletePolicy::Never => "never",
            DeletePolicy::Live => "live",
            DeletePolicy::All => "all",
        };
        (name, &["never", "live", "all"])
    });
    for ((name, policy), ending) in policies.into_iter().zip(endings()) {
        all.push((format!("register-{name}"), Request::Register(registration(policy, ending))));
    }
    all.push(("heartbeat-well".into(), Request::Heartbeat(heartbeat(None))));
    all
}

fn registration(delete: DeletePolicy, ending: Option<Ending>) -> Registration {
    Registration {
        nonce: u64::MAX,
        program: "0.1.0".into(),
        host: "new".into(),
        directory: b"/backup/\xff".to_vec(),
        root_id: "1-2-3".into(),
        marker: Marker { id: MarkerId([7; 16]), barrier: 5, clean: true },
        partials: vec![Partial { transfer: u64::MAX, bytes: 7 }],
        last_epoch: Epoch(2),
        credit: [Credit { bytes: 1, messages: 2 }, Credit { bytes: 3, messages: 4 }],
        delete,
        abilities: Abilities::full(".osync-staging-0123456789abcdef"),
        wanted: Carried { owners: false, ..Carried::all() },
        trust: Trust::Content,
        bwlimit: Some(10 << 20),
        ending,
        dry: false,
    }
}

/// Every reply, with every refusal, phase, outcome and way to end.
pub fn replies() -> Named<Reply> {
    let mut all = named(
        vec![
            Reply::Greeted { dry: true },
            Reply::Introduced,
            Reply::Registered(registered()),
            Reply::Ready,
            Reply::NotYet,
            Reply::Alive(alive(PhaseTag::Transfer, None, None)),
            Reply::Farewell,
            Reply::Refused { code: Refusal::Key, text: "No".into() },
        ],
        |reply| {
            let name = match reply {
                Reply::Greeted { .. } => "greeted",
                Reply::Introduced => "introduced",
                Reply::Registered(_) => "registered",
                Reply::Ready => "ready",
                Reply::NotYet => "not-yet",
                Reply::Alive(_) => "alive",
                Reply::Farewell => "farewell",
                Reply::Refused { .. } => "refused",
            };
            let names = &[
                "greeted",
                "introduced",
                "registered",
                "ready",
                "not-yet",
                "alive",
                "farewell",
                "refused",
            ];
            (name, names)
        },
    );
    for (name, code) in refusals() {
        all.push((format!("refused-{name}"), Reply::Refused { code, text: "Not so".into() }));
    }
    let outcomes = vec![Outcome::Equal, Outcome::Problems, Outcome::Unfinished];
    let outcomes = named(outcomes, |outcome| {
        let name = match outcome {
            Outcome::Equal => "equal",
            Outcome::Problems => "problems",
            Outcome::Unfinished => "unfinished",
        };
        (name, &["equal", "problems", "unfinished"])
    });
    let phases = vec![PhaseTag::Init, PhaseTag::Transfer, PhaseTag::Termination];
    let phases = named(phases, |phase| {
        let name = match phase {
            PhaseTag::Init => "init",
            PhaseTag::Transfer => "transfer",
            PhaseTag::Termination => "termination",
        };
        (name, &["init", "transfer", "termination"])
    });
    for ((name, outcome), ((_, phase), ending)) in
        outcomes.into_iter().zip(phases.into_iter().zip(endings()))
    {
        let alive = alive(phase, ending, Some(final_report(outcome)));
        all.push((format!("alive-{name}"), Reply::Alive(alive)));
    }
    all
}

fn refusals() -> Named<Refusal> {
    let all =
        vec![Refusal::Version, Refusal::Key, Refusal::Stale, Refusal::Busy, Refusal::Malformed];
    named(all, |refusal| {
        let name = match refusal {
            Refusal::Version => "version",
            Refusal::Key => "key",
            Refusal::Stale => "stale",
            Refusal::Busy => "busy",
            Refusal::Malformed => "malformed",
        };
        (name, &["version", "key", "stale", "busy", "malformed"])
    })
}

fn registered() -> Registered {
    Registered {
        epoch: Epoch(u64::MAX),
        data_ports: [9_754, 9_755],
        report_port: 9_756,
        carried: Carried::all(),
        directory: b"/data/\xff".to_vec(),
        program: "0.1.0".into(),
        warnings: vec!["owners can't be kept".into()],
    }
}

fn alive(
    phase: PhaseTag,
    please_unregister: Option<Ending>,
    finished: Option<FinalReport>,
) -> Alive {
    let figures = figures();
    Alive { sent: [1, 2], reports_seen: 3, phase, figures, please_unregister, finished }
}

fn final_report(outcome: Outcome) -> FinalReport {
    FinalReport {
        outcome,
        text: "In words".into(),
        figures: figures(),
        problems: vec![ProblemLine { path: b"bad/\xff".to_vec(), text: "unreadable".into() }],
        foreign: vec![b"foreign/\xfe".to_vec()],
        hot: vec![b"hot".to_vec(), vec![]],
        lost_attributes: vec![("owner".into(), 7)],
    }
}

fn figures() -> Figures {
    Figures {
        halted: Some("the root is gone".into()),
        files_known: 1,
        bytes_known: 2,
        files_done: 3,
        bytes_done: 4,
        bytes_on_wire: 5,
        backlog_files: 6,
        backlog_bytes: 7,
        backlog_known: true,
        directories: 8,
        directories_left: 9,
        directories_in_doubt: 18,
        bwlimit: Some(20),
        dirty_paths: 10,
        lag_ms: 11,
        latency_p50_us: 12,
        latency_p99_us: 13,
        problems: 14,
        overflows: 15,
        foreign: 16,
        sweeps: u64::MAX,
        stalled: Some("the sink's disk".into()),
        shortfall: Some(Shortfall { needed_bytes: 8_192, needed_inodes: 17, free: FREE }),
    }
}
