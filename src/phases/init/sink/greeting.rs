//! The greeting: what a sink asks before it makes or changes anything.

use std::time::Duration;

use crate::error::Error;
use crate::model::limits::GREETING_MS;
use crate::net::client::{CallError, CommandClient};
use crate::phases::init::sink::{Registrar, one_time, unexpected};
use crate::wire::command::{Reply, Request};

/// How long a greeting may take.
const GREETING: Duration = Duration::from_millis(GREETING_MS);

/// What the source said to a greeting.
pub struct Greeting {
    /// It is on a dry run.
    pub dry: bool,
    /// Where it said so.
    pub line: Line,
}

/// A connection that the source has let in.
pub enum Line {
    /// With the sink's own key.
    Own(CommandClient),
    /// With the one-time key of the invite.
    OneTime(CommandClient),
}

impl Registrar {
    /// Asks the source, once and before anything is touched, whether it is on a dry run.
    ///
    /// A source that is known here knows this sink, most likely; to another one the invite is
    /// shown first.
    ///
    /// # Errors
    /// When the source can't be asked: it is not there, or does not know this sink.
    pub fn greet(&self, stop: &dyn Fn() -> bool) -> Result<Greeting, Error> {
        let server = self.server_key()?;
        let known = self.state.source_key(&self.directory, &self.host, self.port)?;
        let ask = |mut client: CommandClient, line: fn(CommandClient) -> Line| {
            let reply = client.call_unless(&Request::Greet, GREETING, stop)?;
            Ok((reply, line(client)))
        };
        let own = || ask(self.connect(server, &self.keys)?, Line::Own);
        let asked = match &self.invite {
            None => own(),
            Some(invite) => {
                let keys = one_time(invite)?;
                let as_guest = || ask(self.connect(server, &keys)?, Line::OneTime);
                let is_known = known == Some(server);
                match if is_known { own() } else { as_guest() } {
                    Err(CallError::NotAuthorised(_)) if is_known => as_guest(),
                    Err(CallError::NotAuthorised(_)) => own(),
                    asked => asked,
                }
            }
        };
        match asked.map_err(Error::from)? {
            (Reply::Greeted { dry }, line) => Ok(Greeting { dry, line }),
            _ => Err(unexpected()),
        }
    }
}
