//! One pattern, with rsync's meaning of slashes and wildcards.
//!
//! | pattern | is held against |
//! |---|---|
//! | without an inner slash or `**` | the last name |
//! | with a leading slash | the whole path |
//! | with inner slashes | as many names at the end of the path as it has itself |
//! | with `**` inside | the path from each of its names on |
//! | with `**` at its beginning | the whole path, with a slash before it |
//!
//! A trailing slash means directories alone; a trailing `***` a directory and all below it. A
//! backslash escapes only where the pattern has a wildcard at all.

/// A pattern, ready to be held against paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As it was given, less what the fields below say of it.
    text: Vec<u8>,
    /// The same in tokens; nothing if it holds no wildcard.
    tokens: Option<Vec<Token>>,
    place: Place,
    /// Only directories match.
    dirs_only: bool,
    /// It ends in `***`: a directory matches with a slash behind it.
    takes_below: bool,
}

/// What of a path a pattern is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many names at its end.
    Tail(usize),
    /// All of it.
    Whole,
    /// All of it, behind a slash.
    Slashed,
    /// Each part of it that begins with a name and goes to the end.
    Anywhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`: one byte that is no slash.
    Any,
    /// `[...]`: one byte of these, never a slash.
    Class(Box<[bool; 256]>),
    /// `*`: any bytes but slashes.
    Star,
    /// `**`: any bytes.
    Stars,
    /// What is no sound wildcard matches nothing.
    Never,
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Pattern {
        let (text, dirs_only) = match text {
            [text @ .., b'/'] if !text.is_empty() => (text, true),
            _ => (text, false),
        };
        let is_wild = text.iter().any(|byte| b"*?[".contains(byte));
        let stars = text.windows(2).position(|pair| pair == b"**");
        let slashes = text.iter().filter(|byte| **byte == b'/').count();
        let (place, text) = match (text, stars) {
            ([b'/', rest @ ..], _) => (Place::Whole, rest),
            (_, Some(0)) => (Place::Slashed, text),
            (_, Some(_)) => (Place::Anywhere, text),
            (_, None) => (Place::Tail(slashes + 1), text),
        };
        let tokens = is_wild.then(|| tokens(text));
        let takes_below = is_wild && text.ends_with(b"***");
        Pattern { text: text.to_vec(), tokens, place, dirs_only, takes_below }
    }

    /// Whether a path matches; `path` is not empty, has no leading slash, and is that of a
    /// directory or not.
    pub(super) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        if self.dirs_only && !is_dir {
            return false;
        }
        if self.place == Place::Slashed || (self.takes_below && is_dir) {
            let mut around = Vec::with_capacity(path.len() + 2);
            around.extend_from_slice(if self.place == Place::Slashed { b"/" } else { b"" });
            around.extend_from_slice(path);
            around.extend_from_slice(if self.takes_below && is_dir { b"/" } else { b"" });
            return self.matches_at(&around);
        }
        self.matches_at(path)
    }

    fn matches_at(&self, text: &[u8]) -> bool {
        match self.place {
            Place::Whole | Place::Slashed => self.is(text),
            Place::Tail(names) => tail(text, names).is_some_and(|tail| self.is(tail)),
            Place::Anywhere => {
                let begins = (0..text.len()).filter(|at| *at == 0 || text[at - 1] == b'/');
                begins.into_iter().any(|at| self.is(&text[at..]))
            }
        }
    }

    fn is(&self, text: &[u8]) -> bool {
        match &self.tokens {
            None => self.text == text,
            Some(tokens) => matches(tokens, text),
        }
    }

    /// Whether what it says of the names below a directory depends on where that directory is.
    /// Where that is hard to tell, it does.
    pub(super) fn depends_on(&self, dir: &[u8]) -> bool {
        match self.place {
            Place::Tail(1) => false,
            // Of `n` names of the pattern, 1 to `n - 1` may lie in the path of the directory.
            Place::Tail(count) => (1..count).any(|above| {
                let names = tail(dir, above);
                names.is_some_and(|names| self.begins_with(names, above))
            }),
            Place::Whole => {
                let names = dir.split(|byte| *byte == b'/').count();
                self.begins_with(dir, names)
            }
            Place::Slashed | Place::Anywhere => true,
        }
    }

    /// Whether the first names of the pattern match `text`, which has as many names, and more of
    /// the pattern follows.
    fn begins_with(&self, text: &[u8], names: usize) -> bool {
        if self.text.windows(2).any(|pair| pair == b"**") {
            return true;
        }
        let mut parts = self.text.splitn(names + 1, |byte| *byte == b'/');
        let first: Vec<&[u8]> = parts.by_ref().take(names).collect();
        if first.len() < names || parts.next().is_none() {
            return false;
        }
        let first = first.join(&b'/');
        match &self.tokens {
            None => first == text,
            // A class may hold a slash, which no split can know.
            Some(_) => first.contains(&b'[') || matches(&tokens(&first), text),
        }
    }
}

/// So many names at the end of a path; nothing if it has fewer.
fn tail(path: &[u8], names: usize) -> Option<&[u8]> {
    let mut slashes = (0..path.len()).rev().filter(|at| path[*at] == b'/');
    let above = slashes.by_ref().take(names - 1).count();
    match slashes.next() {
        Some(at) => Some(&path[at + 1..]),
        None => (above == names - 1).then_some(path),
    }
}

fn tokens(pattern: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let [first, after @ ..] = rest {
        rest = after;
        tokens.push(match first {
            b'?' => Token::Any,
            b'*' => {
                let more = rest.iter().take_while(|byte| **byte == b'*').count();
                rest = &rest[more..];
                if more == 0 { Token::Star } else { Token::Stars }
            }
            b'\\' => match rest {
                [escaped, after @ ..] => {
                    rest = after;
                    Token::Byte(*escaped)
                }
                [] => Token::Never,
            },
            b'[' => match class(rest) {
                Some((class, after)) => {
                    rest = after;
                    Token::Class(class)
                }
                None => Token::Never,
            },
            byte => Token::Byte(*byte),
        });
    }
    tokens
}

/// A class of bytes, from behind its opening bracket on, and what follows it; nothing if it has no
/// end or names a class that there is not.
fn class(pattern: &[u8]) -> Option<(Box<[bool; 256]>, &[u8])> {
    let (is_negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut set = Box::new([false; 256]);
    // The byte that a range may begin with.
    let mut before: Option<u8> = None;
    let mut is_first = true;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b']' if !is_first => break,
            b'[' if rest.first() == Some(&b':') => {
                let (named, after) = named_class(rest)?;
                match named {
                    Some(is_in) => {
                        (0..=255u8).filter(is_in).for_each(|byte| set[usize::from(byte)] = true);
                        before = None;
                    }
                    // No name after all: a bracket like other bytes.
                    None => {
                        set[usize::from(b'[')] = true;
                        before = Some(b'[');
                    }
                }
                rest = after;
            }
            b'-' if before.is_some() && rest.first().is_some_and(|next| *next != b']') => {
                let (last, after) = literal(rest)?;
                rest = after;
                (before?..=last).for_each(|byte| set[usize::from(byte)] = true);
                before = None;
            }
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                set[usize::from(*escaped)] = true;
                before = Some(*escaped);
            }
            byte => {
                set[usize::from(*byte)] = true;
                before = Some(*byte);
            }
        }
        is_first = false;
    }
    if is_negated {
        set.iter_mut().for_each(|is_in| *is_in = !*is_in);
    }
    set[usize::from(b'/')] = false;
    Some((set, rest))
}

fn literal(pattern: &[u8]) -> Option<(u8, &[u8])> {
    match pattern {
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

/// Tells whether a byte is of a named class.
type IsIn = fn(&u8) -> bool;

/// A class by name, from behind its bracket on (`:alpha:]`), and what follows. The inner nothing is
/// what is no name at all, the outer one a name that nobody knows.
fn named_class(pattern: &[u8]) -> Option<(Option<IsIn>, &[u8])> {
    let end = pattern.iter().position(|byte| *byte == b']')?;
    let Some(name) = pattern[1..end].strip_suffix(b":").filter(|_| end > 1) else {
        return Some((None, pattern));
    };
    let is_in: IsIn = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    Some((Some(is_in), &pattern[end + 1..]))
}

/// Whether a text matches as a whole.
///
/// Only the last `*` and the last `**` met are ever extended: what an earlier one could reach by
/// giving more, the later one reaches from where it is.
fn matches(tokens: &[Token], text: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    // Where to go on after each: the token behind it, and the text that it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    let mut stars: Option<(usize, usize)> = None;
    loop {
        match tokens.get(token) {
            Some(Token::Star) => {
                token += 1;
                star = Some((token, at));
                continue;
            }
            Some(Token::Stars) => {
                token += 1;
                (stars, star) = (Some((token, at)), None);
                continue;
            }
            None if at == text.len() => return true,
            Some(one) if text.get(at).is_some_and(|byte| takes(one, *byte)) => {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            _ => {}
        }
        if let Some((behind, taken)) = star
            && text.get(taken).is_some_and(|byte| *byte != b'/')
        {
            (token, at) = (behind, taken + 1);
            star = Some((behind, at));
        } else if let Some((behind, taken)) = stars.filter(|(_, taken)| *taken < text.len()) {
            (token, at) = (behind, taken + 1);
            (stars, star) = (Some((behind, at)), None);
        } else {
            return false;
        }
    }
}

fn takes(token: &Token, byte: u8) -> bool {
    match token {
        Token::Byte(wanted) => *wanted == byte,
        Token::Any => byte != b'/',
        Token::Class(set) => set[usize::from(byte)],
        Token::Star | Token::Stars | Token::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn hits(pattern: &str, path: &str) -> bool {
        let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        Pattern::new(pattern.as_bytes()).matches(path.as_bytes(), is_dir)
    }

    #[test]
    fn patterns_match_as_rsync_says() {
        // Each with paths that match and, behind the bar, others; a slash behind a directory.
        for (pattern, paths) in [
            ("foo", "foo a/foo foo/ a/b/foo/ | food afoo foo/a"),
            ("foo/", "foo/ a/foo/ | foo a/foo"),
            ("/foo", "foo foo/ | a/foo"),
            ("a/foo", "a/foo b/a/foo | foo ba/foo a/b/foo"),
            ("*.o", "x.o a/x.o .o | x.ob x"),
            ("/a/*.o", "a/x.o | a/b/x.o b/a/x.o x.o"),
            ("a/*/x", "a/b/x c/a/b/x | a/x a/b/c/x"),
            ("a/**/x", "a/b/x a/b/c/x c/a/b/x | a/x"),
            ("/a/**", "a/b a/b/c | a a/ b/a/c"),
            ("a/***", "a/ a/b a/b/c c/a/ c/a/b | a b"),
            ("**/x", "x a/x a/b/x | xa"),
            ("**x", "x a/x ax a/bx | xa"),
            ("x**", "x xa x/a b/x/a | ax"),
            ("?", "a b/c | ab"),
            ("[a-c]x", "ax a/cx | dx"),
            ("[!a-c]x", "dx | ax"),
            ("[^a-c]x", "dx | ax"),
            ("[]x]", "] x | a"),
            ("[a-]", "a - | b"),
            ("[[:digit:]]*", "1x | x1"),
            ("[[:nothing:]]", "| n ["),
            ("[ab", "| a [ab"),
            ("a\\b", "a\\b | ab"),
            ("a\\*b*", "a*bc | abbc a\\*b"),
            ("*\\", "| \\ a"),
            ("*a*b*c", "abc xaxbxc | acb"),
            ("**a*b/*c", "xa/ab/c ab/xc | ab/c/d"),
        ] {
            let (with, without) = pattern_rows(paths);
            for path in with {
                assert!(hits(pattern, path), "{pattern} should match {path}");
            }
            for path in without {
                assert!(!hits(pattern, path), "{pattern} should not match {path}");
            }
        }
    }

    fn pattern_rows(paths: &str) -> (Vec<&str>, Vec<&str>) {
        let (with, without) = paths.split_once('|').unwrap();
        (with.split_whitespace().collect(), without.split_whitespace().collect())
    }

    #[test]
    fn what_depends_on_the_place_of_a_directory_is_known() {
        for (pattern, dir, depends) in [
            ("*.o", "a", false),
            ("/x", "a", false),
            ("/a", "a", false),
            ("/a/x", "a", true),
            ("/a/x", "b", false),
            ("/*/x", "b", true),
            ("/a/x", "b/a", false),
            ("/a/b/x", "a/b", true),
            ("a/x", "b/a", true),
            ("a/x", "b/c", false),
            ("a/b/x", "c/a", true),
            ("a/b/x", "c/a/b", true),
            ("a/b/x", "b", false),
            ("a/b/x", "a/b", true),
            ("a/**", "c", true),
            ("**/a/x", "c", true),
            ("[a/]b/x", "c", true),
        ] {
            let found = Pattern::new(pattern.as_bytes()).depends_on(dir.as_bytes());
            assert_eq!(found, depends, "{pattern} below {dir}");
        }
    }
}
