//! Names are bytes: how they look in JSON and on a terminal.

use std::fmt::Write as _;

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name or path in JSON: a string where it is UTF-8, else `{"base64": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonName(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes { base64: String },
}

impl Serialize for JsonName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Form::Bytes { base64: BASE64.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for JsonName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonName, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(JsonName(text.into_bytes())),
            Form::Bytes { base64 } => {
                BASE64.decode(base64.as_bytes()).map(JsonName).map_err(D::Error::custom)
            }
        }
    }
}

/// A name or path as a terminal may show it: letters of all scripts stay, whatever could drive
/// the terminal and all that is no UTF-8 is escaped.
#[must_use]
pub fn escaped(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || is_treacherous(letter) || letter == '\\' {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A sentence as a terminal may show it: only what could drive the terminal is escaped.
#[must_use]
pub fn tame(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_treacherous(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Letters that turn the direction of text around, or that nobody sees.
fn is_treacherous(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{JsonName, escaped};

    #[test]
    fn json_keeps_every_name() {
        for (name, json) in [
            (&b"a/b"[..], r#""a/b""#),
            ("ü\n".as_bytes(), r#""ü\n""#),
            (b"\xff", r#"{"base64":"/w=="}"#),
        ] {
            let name = JsonName(name.to_vec());
            assert_eq!(serde_json::to_string(&name).unwrap(), json);
            assert_eq!(serde_json::from_str::<JsonName>(json).unwrap(), name);
        }
    }

    #[test]
    fn a_terminal_is_not_driven_by_a_name() {
        assert_eq!(escaped("grün\u{1b}[2J".as_bytes()), "grün\\u{1b}[2J");
        assert_eq!(escaped(b"a\xff\n\\"), "a\\xff\\n\\\\");
        assert_eq!(escaped("\u{202e}txt".as_bytes()), "\\u{202e}txt");
    }
}
