//! What is said of directories that no events come from: which they are, why, and what to do.

use crate::flow::map::DirMap;
use crate::model::limits::UNWATCHED_TOLD_MAX;

/// What was said so far.
#[derive(Debug, Default)]
pub struct Blindness {
    /// Why the last one could not be watched.
    cause: String,
    /// Whether that has not been said yet.
    is_news: bool,
    /// How many there were when it was last said.
    told: usize,
}

impl Blindness {
    /// Notes why a directory can't be watched.
    pub fn note_cause(&mut self, cause: String) {
        self.is_news |= self.cause != cause;
        self.cause = cause;
    }

    /// What is to be said now, if there is anything new: the first of them, twice as many, another
    /// cause, none any more.
    pub fn tell(&mut self, map: &DirMap) -> Option<String> {
        let count = map.unwatched_count();
        if count == 0 {
            let before = std::mem::take(&mut self.told);
            return (before > 0).then(|| "All directories are watched again".to_owned());
        }
        if self.told > 0 && !self.is_news && count <= self.told * 2 {
            return None;
        }
        (self.told, self.is_news) = (count, false);
        let all = map.len();
        let subtrees = subtrees(map);
        Some(format!("{}. Swept in turn, {count} of {all} directories: {subtrees}", self.cause))
    }
}

/// The topmost unwatched directories by name, as many as people want to read.
fn subtrees(map: &DirMap) -> String {
    let mut named = Vec::new();
    let mut more = 0;
    for path in map.unwatched_tops().filter_map(|key| map.path(key)) {
        if path.is_root() {
            named.push("the whole tree".to_owned());
        } else if named.len() < UNWATCHED_TOLD_MAX {
            named.push(format!("\"{path}\""));
        } else {
            more += 1;
        }
    }
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} subtrees more") } else { named }
}

#[cfg(test)]
mod tests {
    use super::Blindness;
    use crate::flow::map::DirMap;
    use crate::model::entry::Identity;
    use crate::model::limits::UNWATCHED_TOLD_MAX;
    use crate::model::path::Name;
    use crate::model::stamp::DirKey;

    #[test]
    fn it_is_said_when_it_is_news() {
        let mut map = DirMap::new(Identity { device: 1, inode: 1, birth: 0 });
        let mut blindness = Blindness::default();
        map.set_watched(DirKey::ROOT, true);
        assert_eq!(blindness.tell(&map), None);
        let insert = |map: &mut DirMap, text: String| {
            let key = map.insert(DirKey::ROOT, Name::new(text.as_bytes()).unwrap()).unwrap();
            map.set_watched(key, false);
            key
        };
        let a = insert(&mut map, "a".into());
        blindness.note_cause("No watch; `sysctl x=1`".into());
        let told = blindness.tell(&map).unwrap();
        assert_eq!(told, "No watch; `sysctl x=1`. Swept in turn, 1 of 2 directories: \"a\"");
        blindness.note_cause("No watch; `sysctl x=1`".into());
        insert(&mut map, "b".into());
        assert_eq!(blindness.tell(&map), None);
        blindness.note_cause("No watch; `sysctl x=2`".into());
        assert!(blindness.tell(&map).unwrap().contains("x=2"));
        for number in 0..UNWATCHED_TOLD_MAX {
            insert(&mut map, number.to_string());
        }
        assert!(blindness.tell(&map).unwrap().ends_with(" and 2 subtrees more"));
        map.set_watched(a, true);
        assert_eq!(blindness.tell(&map), None);
        for key in map.unwatched().collect::<Vec<_>>() {
            map.set_watched(key, true);
        }
        assert_eq!(blindness.tell(&map).unwrap(), "All directories are watched again");
        assert_eq!(blindness.tell(&map), None);
        map.set_deaf();
        assert!(blindness.tell(&map).unwrap().contains("directories: the whole tree"));
    }
}
