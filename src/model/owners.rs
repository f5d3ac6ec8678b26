//! Other owners at the sink than at the source: `--usermap`, `--groupmap`, `--chown`.

use crate::model::attributes::{Meta, Xattr};

/// Numbers of owners from `first` to `last` become `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRule {
    /// The first number at the source.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// The number at the sink.
    pub to: u32,
}

/// Which owners become which; of several rules the first counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerMap {
    /// For users.
    pub users: Vec<IdRule>,
    /// For groups.
    pub groups: Vec<IdRule>,
}

/// Bytes of an access list before its entries, and of each entry.
const ACL_HEAD: usize = 4;
const ACL_ENTRY: usize = 8;
/// The kinds of entries that name a user, and a group.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

fn mapped(rules: &[IdRule], id: u32) -> u32 {
    let rule = rules.iter().find(|rule| (rule.first..=rule.last).contains(&id));
    rule.map_or(id, |rule| rule.to)
}

impl OwnerMap {
    /// Whether all owners stay as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// The attributes with other owners.
    #[must_use]
    pub fn of_meta(&self, meta: &Meta) -> Meta {
        let (uid, gid) = (mapped(&self.users, meta.uid), mapped(&self.groups, meta.gid));
        Meta { uid, gid, ..*meta }
    }

    /// Puts other owners into an access list; any other attribute, or one that is no such list,
    /// stays as it is.
    pub fn change_acl(&self, xattr: &mut Xattr) {
        let is_acl = xattr.name.starts_with(b"system.posix_acl_");
        let Some(entries) = xattr.value.get_mut(ACL_HEAD..).filter(|_| is_acl) else { return };
        for entry in entries.chunks_exact_mut(ACL_ENTRY) {
            let kind = u16::from_le_bytes([entry[0], entry[1]]);
            let rules = match kind {
                ACL_USER => &self.users,
                ACL_GROUP => &self.groups,
                _ => continue,
            };
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            entry[4..].copy_from_slice(&mapped(rules, id).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IdRule, OwnerMap};
    use crate::model::attributes::{Meta, Xattr};
    use crate::model::entry::FileTime;

    fn map() -> OwnerMap {
        OwnerMap {
            users: vec![
                IdRule { first: 1_000, last: 1_999, to: 7 },
                IdRule { first: 0, last: u32::MAX, to: 8 },
            ],
            groups: vec![IdRule { first: 50, last: 50, to: 60 }],
        }
    }

    #[test]
    fn the_first_rule_counts() {
        let owners = |uid, gid| {
            let meta = map().of_meta(&Meta::plain(0o600, uid, gid, FileTime::default()));
            (meta.uid, meta.gid)
        };
        assert_eq!(owners(1_000, 50), (7, 60));
        assert_eq!(owners(2_000, 51), (8, 51));
    }

    #[test]
    fn access_lists_name_owners_too() {
        let entry =
            |kind: u16, id: u32| [&kind.to_le_bytes()[..], &[4, 0], &id.to_le_bytes()].concat();
        let list = |user, group| {
            let entries = [entry(1, u32::MAX), entry(2, user), entry(8, group), vec![9]];
            let value = [&[2, 0, 0, 0][..], &entries.concat()].concat();
            Xattr { name: b"system.posix_acl_access".to_vec(), value }
        };
        let mut changed = list(1_500, 50);
        map().change_acl(&mut changed);
        assert_eq!(changed, list(7, 60));
        for value in [vec![], vec![2], vec![0; 11]] {
            let mut short = Xattr { name: b"system.posix_acl_access".to_vec(), value };
            map().change_acl(&mut short);
        }
    }
}
