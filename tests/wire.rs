//! What travels: every variant there and back, old bytes still read, bad bytes refused.

mod golden;
mod noise;
mod zoo;

use osync::wire::codec::{decode, decode_envelope, encode, encode_envelope};

#[test]
fn everything_of_the_data_lanes_comes_back_as_it_was() {
    for (name, header) in zoo::headers() {
        assert_eq!(decode::<osync::wire::data::Header>(&encode(&header).unwrap()).unwrap(), header);
        assert!(!name.is_empty());
    }
    for (_, report) in zoo::reports() {
        let bytes = encode(&report).unwrap();
        assert_eq!(decode::<osync::model::message::Report>(&bytes).unwrap(), report);
    }
}

#[test]
fn every_command_and_reply_comes_back_as_it_was() {
    for (_, request) in zoo::requests() {
        let bytes = encode_envelope(request.clone()).unwrap();
        assert_eq!(decode_envelope::<osync::wire::command::Request>(&bytes).unwrap(), request);
    }
    for (_, reply) in zoo::replies() {
        let bytes = encode_envelope(reply.clone()).unwrap();
        assert_eq!(decode_envelope::<osync::wire::command::Reply>(&bytes).unwrap(), reply);
    }
}
