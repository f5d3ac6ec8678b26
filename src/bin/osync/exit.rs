//! The exit codes: a fixed contract with scripts.

use osync::ended::EndKind;
use osync::error::Error;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Finished and equal, or the question was answered.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Finished, with problems that the report lists.
    Problems = 3,
    /// A key, a version or a lock said no.
    Refused = 4,
    /// Not finished; the pair can go on.
    Unfinished = 5,
    /// Stopped by a person, resumable.
    Interrupted = 130,
}

impl From<EndKind> for Exit {
    fn from(end: EndKind) -> Exit {
        match end {
            EndKind::Equal => Exit::Done,
            EndKind::Problems => Exit::Problems,
            EndKind::Unfinished => Exit::Unfinished,
            EndKind::Interrupted => Exit::Interrupted,
            EndKind::Failed => Exit::Failed,
            EndKind::Usage => Exit::Usage,
            EndKind::Refused => Exit::Refused,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        EndKind::of_error(error).into()
    }
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use osync::ended::{EndKind, Ended};
    use osync::error::Error;

    use super::Exit;

    #[test]
    fn every_end_has_its_code() {
        let code = |end: &Result<Ended, Error>| Exit::from(EndKind::of(end)).code();
        assert_eq!(code(&Ok(Ended::Interrupted)), 130);
        assert_eq!(code(&Ok(Ended::TimedOut(String::new()))), 5);
        assert_eq!(code(&Err(Error::Usage(String::new()))), 2);
        assert_eq!(code(&Err(Error::Refused(String::new()))), 4);
        assert_eq!(code(&Err(Error::Version { ours: 1, theirs: 2 })), 4);
        assert_eq!(code(&Err(Error::Network(String::new()))), 1);
        assert_eq!(code(&Err(Error::TimedOut(String::new()))), 1);
        assert_eq!(code(&Err(Error::Halted(String::new()))), 5);
        assert_eq!(Exit::from(EndKind::Equal).code(), 0);
        assert_eq!(Exit::from(EndKind::Problems).code(), 3);
        assert_eq!(Exit::from(EndKind::Unfinished).code(), 5);
    }
}
