//! How what stands at a name is judged by what the ledger has of it (law 8).
//!
//! | the ledger has | and the object is | then |
//! |---|---|---|
//! | nothing | | ask the sink |
//! | a copy | another by identity, kind, size or mtime | it changed |
//! | a copy, with a hash | the same, its ctime moved | attributes now, content against the hash |
//! | a copy, with a hash | the same, seen within a granule or never durable | content against the hash |
//! | a copy, without | the same, its ctime moved or seen within a granule | content against each other |
//! | a copy, without | the same, never durable | ask the sink |
//! | a durable copy | the same in all | nothing is to be done |
//! | other names of it, not this one | | it is to become a link to them |
//!
//! A symlink is never read again: a listing tells the sink all of it.

use crate::model::ledger::{Facts, Kind, Known, Proof, Standing};

/// How the ledger stands to what was seen at a name.
#[must_use]
pub fn judge(known: &Known, seen: &Facts) -> Standing {
    match known {
        Known::Nothing => Standing::Unknown,
        Known::Apart => Standing::Apart,
        Known::Dir { dressed } => match dressed {
            _ if seen.kind != Kind::Dir => Standing::Unknown,
            Some(facts) if facts == seen && !seen.is_young => Standing::Durable,
            _ => Standing::Undressed,
        },
        Known::Copy { facts, proof, is_durable } => judge_copy(facts, proof, *is_durable, seen),
    }
}

fn judge_copy(facts: &Facts, proof: &Proof, is_durable: bool, seen: &Facts) -> Standing {
    let is_retouched = facts.ctime != seen.ctime;
    let is_sure = is_durable && !is_retouched && !facts.is_young;
    match proof {
        Proof::None | Proof::Agreed(_) if facts.is_like(seen) && is_sure => Standing::Durable,
        _ if seen.kind != Kind::File => Standing::Unknown,
        _ if !facts.is_like(seen) => Standing::Changed,
        Proof::Agreed(hash) | Proof::Stale(hash) => {
            Standing::Check { hash: Some(*hash), is_retouched }
        }
        Proof::None if is_retouched || facts.is_young => {
            Standing::Check { hash: None, is_retouched }
        }
        Proof::None => Standing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::model::entry::{FileTime, Hash, Identity};
    use crate::model::ledger::{Facts, Kind, Known, Proof, Standing};

    const HASH: Hash = Hash([7; 32]);

    fn facts() -> Facts {
        let time = |seconds| FileTime { seconds, nanos: 0 };
        let identity = Identity { device: 1, inode: 2, birth: 3 };
        let (mtime, ctime) = (time(10), time(20));
        Facts {
            identity,
            kind: Kind::File,
            size: 5,
            mtime,
            ctime,
            is_young: false,
            has_others: false,
            home: None,
        }
    }

    fn moved(ctime: i64) -> Facts {
        Facts { ctime: FileTime { seconds: ctime, nanos: 0 }, ..facts() }
    }

    #[test]
    fn a_copy_is_judged_by_all_that_is_known() {
        let racy = Facts { is_young: true, ..facts() };
        let other = Facts { identity: Identity { device: 1, inode: 2, birth: 4 }, ..facts() };
        let check = |is_retouched| Standing::Check { hash: Some(HASH), is_retouched };
        let prove = |is_retouched| Standing::Check { hash: None, is_retouched };
        let (none, agreed, stale) = (Proof::None, Proof::Agreed(HASH), Proof::Stale(HASH));
        let rows = [
            // had, proof, durable, seen
            (facts(), none, true, facts(), Standing::Durable),
            (facts(), agreed, true, facts(), Standing::Durable),
            (facts(), agreed, true, racy, Standing::Durable),
            (facts(), stale, true, facts(), check(false)),
            (facts(), agreed, false, facts(), check(false)),
            (racy, agreed, true, facts(), check(false)),
            (facts(), agreed, true, moved(21), check(true)),
            (facts(), agreed, true, moved(19), check(true)),
            (facts(), none, false, facts(), Standing::Unknown),
            (racy, none, true, facts(), prove(false)),
            (facts(), none, true, moved(21), prove(true)),
            (facts(), agreed, true, other, Standing::Changed),
            (facts(), agreed, true, Facts { size: 6, ..facts() }, Standing::Changed),
            (facts(), none, true, Facts { kind: Kind::Symlink, ..facts() }, Standing::Unknown),
        ];
        for (at, (had, proof, is_durable, seen, expected)) in rows.into_iter().enumerate() {
            let known = Known::Copy { facts: had, proof, is_durable };
            assert_eq!(judge(&known, &seen), expected, "row {at}");
        }
        assert_eq!(judge(&Known::Nothing, &facts()), Standing::Unknown);
    }

    #[test]
    fn a_symlink_is_told_again_unless_it_is_durable() {
        let link = Facts { kind: Kind::Symlink, ..facts() };
        let known = |is_durable| Known::Copy { facts: link, proof: Proof::None, is_durable };
        assert_eq!(judge(&known(true), &link), Standing::Durable);
        assert_eq!(judge(&known(false), &link), Standing::Unknown);
        let later = Facts { kind: Kind::Symlink, ..moved(30) };
        assert_eq!(judge(&known(true), &later), Standing::Unknown);
    }

    #[test]
    fn a_directory_is_dressed_or_not() {
        let dir = Facts { kind: Kind::Dir, size: 0, ..facts() };
        let known = |dressed| Known::Dir { dressed };
        assert_eq!(judge(&known(Some(dir)), &dir), Standing::Durable);
        assert_eq!(judge(&known(None), &dir), Standing::Undressed);
        let later = Facts { kind: Kind::Dir, size: 0, ..moved(30) };
        assert_eq!(judge(&known(Some(dir)), &later), Standing::Undressed);
        assert_eq!(judge(&known(Some(dir)), &facts()), Standing::Unknown, "a file now");
    }
}
