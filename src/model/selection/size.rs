//! Sizes as rsync writes them.

/// As many digits behind a point as a number of 64 bits has.
const FRACTION_DIGITS: usize = 18;

/// Reads a size: a number, perhaps with a fraction; a unit (`B`, or one of `K M G T P` for powers
/// of 1024, with `iB` behind it or not, or with `B` for powers of 1000); and `+1` or `-1`.
///
/// # Errors
/// A sentence, if the text is no size.
pub fn size(text: &str) -> Result<u64, String> {
    let failed = || format!("`{text}` is no size: give a number with B, K, M, G, T or P behind it");
    let (body, change) = match text.strip_suffix("+1") {
        Some(body) => (body, 1),
        None => text.strip_suffix("-1").map_or((text, 0), |body| (body, -1)),
    };
    let end = body.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = body.split_at(end.unwrap_or(body.len()));
    let scale = scale(unit).ok_or_else(failed)?;
    let bytes = scaled(number, scale).ok_or_else(failed)?;
    bytes.checked_add_signed(change).ok_or_else(failed)
}

fn scale(unit: &str) -> Option<u64> {
    let mut letters = unit.chars();
    let power = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
        None => return Some(1),
        Some('b') => return letters.as_str().is_empty().then_some(1),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    match letters.as_str().to_ascii_lowercase().as_str() {
        "" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// A number with a fraction, so many times; what is left of a byte is cut off.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || fraction.len() > FRACTION_DIGITS || whole.len() + fraction.len() == 0 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let rest = u128::from(digits(fraction)?) * u128::from(scale) / parts;
    digits(whole)?.checked_mul(scale)?.checked_add(u64::try_from(rest).ok()?)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_as_rsync_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("17b", Some(17)),
            ("1k", Some(1024)),
            ("1K", Some(1024)),
            ("1KiB", Some(1024)),
            ("1KB", Some(1000)),
            ("1.5mb-1", Some(1_499_999)),
            ("2gib+1", Some(2 * 1024 * 1024 * 1024 + 1)),
            ("1.5m", Some(1_572_864)),
            (".5k", Some(512)),
            ("1.2kb", Some(1200)),
            ("0.3k", Some(307)),
            ("1t", Some(1 << 40)),
            ("1p", Some(1 << 50)),
            ("", None),
            (".", None),
            ("k", None),
            ("-1", None),
            ("0-1", None),
            ("1x", None),
            ("1kk", None),
            ("1.2.3", None),
            ("99999999p", None),
            ("1 k", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
