//! Stands in for the operator until it is built.

use crate::config::LocalConfig;
use crate::ended::Ended;
use crate::error::Error;
use crate::monitor::Monitor;
use crate::stop::Stop;

/// Runs it.
#[allow(clippy::needless_pass_by_value)]
pub fn run(_config: LocalConfig, _monitor: &dyn Monitor, _stop: &Stop) -> Result<Ended, Error> {
    Err(Error::Usage("not built yet".into()))
}
