//! `--usermap`, `--groupmap` and `--chown`: from words to numbers.
//!
//! Owners travel as numbers, so what stands left of a colon is a number of the source. What stands
//! right of it may be a name: this host knows it.

use nix::unistd::{Group, User};
use osync::model::owners::{IdRule, OwnerMap};

/// Whose numbers are meant.
#[derive(Clone, Copy)]
enum Whose {
    Users,
    Groups,
}

/// `FROM:TO[,FROM:TO...]` for users.
pub fn usermap(text: &str) -> Result<Vec<IdRule>, String> {
    rules(text, Whose::Users)
}

/// `FROM:TO[,FROM:TO...]` for groups.
pub fn groupmap(text: &str) -> Result<Vec<IdRule>, String> {
    rules(text, Whose::Groups)
}

/// `USER`, `USER:GROUP` or `:GROUP`, for everything.
pub fn chown(text: &str) -> Result<OwnerMap, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if user.is_empty() && group.is_empty() {
        return Err("give USER, USER:GROUP or :GROUP".into());
    }
    let all = |name: &str, whose| -> Result<Vec<IdRule>, String> {
        if name.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![IdRule { first: 0, last: u32::MAX, to: number(name, whose)? }])
    };
    Ok(OwnerMap { users: all(user, Whose::Users)?, groups: all(group, Whose::Groups)? })
}

fn rules(text: &str, whose: Whose) -> Result<Vec<IdRule>, String> {
    text.split(',').map(|rule| one_rule(rule, whose)).collect()
}

fn one_rule(text: &str, whose: Whose) -> Result<IdRule, String> {
    let (from, to) = text.split_once(':').ok_or_else(|| format!("`{text}` is not FROM:TO"))?;
    let (first, last) = match from.split_once('-') {
        _ if from == "*" => (0, u32::MAX),
        Some((first, last)) => (of_source(first)?, of_source(last)?),
        None => (of_source(from)?, of_source(from)?),
    };
    if first > last {
        return Err(format!("`{from}` ends before it begins"));
    }
    Ok(IdRule { first, last, to: number(to, whose)? })
}

fn of_source(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no number: give the number that the owner has at the source, or *")
    })
}

fn number(text: &str, whose: Whose) -> Result<u32, String> {
    if let Ok(number) = text.parse::<u32>() {
        return Some(number)
            .filter(|number| *number != u32::MAX)
            .ok_or_else(|| format!("{text} is a number that Linux gives to nobody"));
    }
    let found = match whose {
        Whose::Users => User::from_name(text).ok().flatten().map(|user| user.uid.as_raw()),
        Whose::Groups => Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw()),
    };
    let kind = match whose {
        Whose::Users => "user",
        Whose::Groups => "group",
    };
    found.ok_or_else(|| format!("this host knows no {kind} `{text}`: give a number"))
}

#[cfg(test)]
mod tests {
    use osync::model::owners::{IdRule, OwnerMap};

    use super::{chown, groupmap, usermap};

    #[test]
    fn rules_are_read_as_rsync_writes_them() {
        let rule = |first, last, to| IdRule { first, last, to };
        let rules = usermap("0-99:65534,1000:root,*:7").unwrap();
        assert_eq!(rules, [rule(0, 99, 65_534), rule(1_000, 1_000, 0), rule(0, u32::MAX, 7)]);
        assert_eq!(groupmap("5:root").unwrap(), [rule(5, 5, 0)]);
        let all = vec![rule(0, u32::MAX, 0)];
        assert_eq!(chown("root:").unwrap(), OwnerMap { users: all.clone(), groups: vec![] });
        assert_eq!(chown(":0").unwrap(), OwnerMap { users: vec![], groups: all });
    }

    #[test]
    fn what_can_not_be_meant_says_why() {
        for (text, says) in [
            ("wayne:1", "at the source"),
            ("1", "FROM:TO"),
            ("9-3:1", "ends before"),
            ("1:nobody-has-this-name", "no user"),
            ("1:4294967295", "nobody"),
        ] {
            let error = usermap(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(chown(":").is_err());
    }
}
