//! A sink of the test's own registers with a real source, over CURVE: what is asked twice is
//! granted once (H26), and how one epoch ended is not told in the next (H9).

use std::fs;
use std::time::Duration;

use osync::model::abilities::Abilities;
use osync::model::attributes::Carried;
use osync::model::marker::{Marker, MarkerId};
use osync::model::message::{Body, ListingAnswer, MessageAnswer, Report};
use osync::model::session::{Credit, DeletePolicy, Ending, FinalReport, Trust};
use osync::model::stamp::{Epoch, Lane};
use osync::net::Context;
use osync::net::client::{CallError, CommandClient};
use osync::net::curve::KeyPair;
use osync::net::stream::connected::{DataPeer, LaneReceiver, ReportSender};
use osync::phases::init::own_keys;
use osync::phases::init::sink::Registrar;
use osync::state::dir::StateDir;
use osync::state::invite::Invite;
use osync::state::keys::KeyRole;
use osync::wire::command::{Heartbeat, Refusal, Registered, Registration, Reply, Request};

use crate::support::operator::{Pair, SOON};
use crate::support::until_true;

/// A sink that says what a test wants said.
struct Caller {
    context: Context,
    keys: KeyPair,
    invite: Invite,
    port: u16,
}

impl Caller {
    /// Makes itself known to the pair's source.
    fn introduced(pair: &Pair) -> Caller {
        let state = StateDir::open(Some(&pair.path("caller-state"))).unwrap();
        let invite: Invite =
            fs::read_to_string(pair.path("invite")).unwrap().trim().parse().unwrap();
        let keys = own_keys(&state, KeyRole::Sink).unwrap();
        let mut registrar = Registrar {
            context: Context::new().unwrap(),
            state,
            keys: keys.clone(),
            host: "127.0.0.1".into(),
            port: pair.port(),
            directory: pair.sink_dir(),
            invite: Some(invite.clone()),
            connect_timeout: SOON,
            dry: false,
            line: None,
        };
        registrar.register(registration(0, Epoch(0)), true, &|| false, &|_| ()).unwrap().unwrap();
        Caller { context: registrar.context, keys, invite, port: pair.port() }
    }

    fn client(&self) -> CommandClient {
        let (server, host) = (&self.invite.server, "127.0.0.1");
        CommandClient::connect(&self.context, host, self.port, server, &self.keys).unwrap()
    }

    fn sockets(&self, to: &CommandClient, at: &Registered) -> ([LaneReceiver; 2], ReportSender) {
        let peer = DataPeer {
            context: self.context.clone(),
            keys: self.keys.clone(),
            server: self.invite.server,
            address: to.address(),
        };
        let lane = |lane: Lane| peer.lane(lane, at.data_ports[lane.index()]).unwrap();
        (Lane::ALL.map(lane), peer.reports(at.report_port).unwrap())
    }
}

fn registration(nonce: u64, last_epoch: Epoch) -> Registration {
    let credit = Credit { bytes: 1 << 20, messages: 16 };
    Registration {
        nonce,
        program: "test".into(),
        host: "test".into(),
        directory: b"/backup".to_vec(),
        root_id: "root".into(),
        marker: Marker { id: MarkerId([1; 16]), barrier: 0, clean: false },
        partials: Vec::new(),
        last_epoch,
        credit: [credit, credit],
        delete: DeletePolicy::Live,
        abilities: Abilities::full(".osync-staging-0"),
        wanted: Carried::all(),
        trust: Trust::Times,
        bwlimit: None,
        ending: None,
        dry: false,
    }
}

#[track_caller]
fn granted(client: &mut CommandClient, nonce: u64) -> Registered {
    let request = Request::Register(registration(nonce, Epoch(0)));
    match client.call(&request, SOON).unwrap() {
        Reply::Registered(registered) => registered,
        other => panic!("not registered: {other:?}"),
    }
}

#[track_caller]
fn beat(client: &mut CommandClient, epoch: Epoch) -> Reply {
    let beat = Heartbeat {
        epoch,
        seen: [0; 2],
        reports_sent: 0,
        trouble: None,
        room: None,
        bwlimit: None,
    };
    client.call(&Request::Heartbeat(beat), SOON).unwrap()
}

fn is_stale(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused { code: Refusal::Stale, .. })
}

#[test]
fn h26_a_registration_asked_twice_is_one_epoch() {
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    let caller = Caller::introduced(&pair);
    let (mut first, mut second) = (caller.client(), caller.client());
    let before = granted(&mut first, 1).epoch;

    // Hardly anybody waits for this reply: it leaves at once, on a connection that stands.
    let request = Request::Register(registration(2, Epoch(0)));
    let asked = first.call(&request, Duration::ZERO);
    assert!(matches!(asked, Err(CallError::TimedOut(_)) | Ok(Reply::Registered(_))), "{asked:?}");
    let grant = granted(&mut first, 2);
    assert_eq!(grant.epoch, Epoch(before.0 + 1), "each question drew an epoch");

    // The sockets of that epoch outlive the same question over another connection.
    let (mut lanes, mut reports) = caller.sockets(&first, &grant);
    let ready = Request::EnsureReadiness { epoch: grant.epoch };
    until_true("the source is ready", SOON, || {
        assert_eq!(granted(&mut second, 2), grant, "other ports, or another epoch");
        lanes.iter_mut().all(|lane| lane.is_connected().unwrap())
            && reports.is_connected().unwrap()
            && matches!(second.call(&ready, SOON).unwrap(), Reply::Ready)
    });
    assert_eq!(granted(&mut second, 2), grant);
    assert!(matches!(beat(&mut first, grant.epoch), Reply::Alive(_)));
    assert!(lanes.iter_mut().all(|lane| lane.is_connected().is_ok()), "the epoch was torn down");

    // Another nonce ends it.
    let next = granted(&mut second, 3);
    assert_eq!(next.epoch, Epoch(grant.epoch.0 + 1));
    assert!(is_stale(&beat(&mut first, grant.epoch)));
    until_true("the old sockets are closed", SOON, || {
        let lost = |lane: &mut LaneReceiver| lane.recv(Duration::from_millis(5)).is_err();
        lanes.iter_mut().all(lost)
    });
}

/// A sink that says of all that comes that it has it already.
struct Contented {
    lanes: [LaneReceiver; 2],
    reports: ReportSender,
    epoch: Epoch,
    sent: u64,
    seen: [u64; 2],
}

impl Contented {
    /// Connects what was granted, until the source is ready.
    fn ready(caller: &Caller, client: &mut CommandClient, grant: &Registered) -> Contented {
        let (mut lanes, mut reports) = caller.sockets(client, grant);
        let ready = Request::EnsureReadiness { epoch: grant.epoch };
        until_true("the source is ready", SOON, || {
            lanes.iter_mut().all(|lane| lane.is_connected().unwrap())
                && reports.is_connected().unwrap()
                && matches!(client.call(&ready, SOON).unwrap(), Reply::Ready)
        });
        Contented { lanes, reports, epoch: grant.epoch, sent: 0, seen: [0; 2] }
    }

    /// Answers what has come, and tells that it is durable.
    fn answer(&mut self) {
        let mut answers = Vec::new();
        for lane in Lane::ALL {
            let wait = Duration::from_millis(5);
            while let Some((header, _)) = self.lanes[lane.index()].recv(wait).unwrap() {
                self.seen[lane.index()] = header.sequence;
                let listing = match header.body {
                    Body::Listing(part) => Some(ListingAnswer::equal(part.listing, part.part)),
                    _ => None,
                };
                answers.push(MessageAnswer {
                    lane,
                    sequence: header.sequence,
                    exceptions: Vec::new(),
                    made: Vec::new(),
                    lacking: Vec::new(),
                    listing,
                    signature: Vec::new(),
                });
            }
        }
        if !answers.is_empty() {
            self.sent += 1;
            self.reports.send(&report(self.epoch, self.sent, answers)).unwrap();
        }
    }

    /// How the session ended, should it have, as a heartbeat tells.
    fn finished(&mut self, client: &mut CommandClient) -> Option<FinalReport> {
        let (epoch, seen, reports_sent) = (self.epoch, self.seen, self.sent);
        let beat =
            Heartbeat { epoch, seen, reports_sent, trouble: None, room: None, bwlimit: None };
        finished(client.call(&Request::Heartbeat(beat), SOON).unwrap())
    }
}

fn report(epoch: Epoch, number: u64, answers: Vec<MessageAnswer>) -> Report {
    let (disturbed, inspected) = (Vec::new(), true);
    Report {
        epoch,
        number,
        answers,
        durable_through: number,
        barrier: number,
        disturbed,
        inspected,
    }
}

#[track_caller]
fn finished(reply: Reply) -> Option<FinalReport> {
    match reply {
        Reply::Alive(alive) => alive.finished,
        other => panic!("not alive: {other:?}"),
    }
}

/// A sink that was gone when its session ended, and registers again without a word of ending, is
/// at the beginning: it must not take the end of the epoch before for its own.
#[test]
fn h9_a_new_epoch_is_not_told_how_the_last_one_ended() {
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    let caller = Caller::introduced(&pair);
    let mut client = caller.client();
    let grant = granted(&mut client, 1);
    let mut sink = Contented::ready(&caller, &mut client, &grant);
    let unregister = Request::Unregister { epoch: grant.epoch, ending: Ending::Cutover };
    assert_eq!(finished(client.call(&unregister, SOON).unwrap()), None);
    until_true("the session has ended", SOON, || {
        sink.answer();
        sink.finished(&mut client).is_some()
    });

    let next = granted(&mut client, 2);
    for asked in 0..20 {
        assert_eq!(finished(beat(&mut client, next.epoch)), None, "heartbeat {asked}");
    }
    let mut sink = Contented::ready(&caller, &mut client, &next);
    for asked in 0..20 {
        sink.answer();
        assert_eq!(sink.finished(&mut client), None, "heartbeat {asked} of a ready sink");
    }
}
