//! Content frames made smaller by zstd, and whole again.
//!
//! - What does not shrink travels as it is; that is told by trying some pieces first.
//! - Unpacking makes exactly as many bytes as were announced, or refuses: whoever sends what
//!   would grow beyond that gains nothing by it.

use zstd::bulk::{Compressor, Decompressor};

use crate::error::Error;
use crate::model::limits::{
    FRAME_BYTES_MAX, PACK_BYTES_MIN, PACK_SAMPLE_BYTES, PACK_SAMPLES, PACK_SHRINKS_PERCENT,
};

/// Packs contents, one after the other; kept by a thread, for it holds working memory.
pub struct Packer {
    sampler: Compressor<'static>,
    compressor: Compressor<'static>,
}

impl Packer {
    /// One that packs at a level of zstd, from 1 (fastest) to 19.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn new(level: i32) -> Result<Packer, Error> {
        let compressor = |level| Compressor::new(level).map_err(|error| cant("compress", &error));
        Ok(Packer { sampler: compressor(1)?, compressor: compressor(level)? })
    }

    /// A content in fewer bytes; nothing if that is not worth it.
    ///
    /// # Errors
    /// When zstd fails, for want of memory.
    pub fn pack(&mut self, content: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if content.len() < PACK_BYTES_MIN || !self.seems_to_shrink(content)? {
            return Ok(None);
        }
        let packed = self.compressor.compress(content);
        let packed = packed.map_err(|error| cant("compress", &error))?;
        Ok(shrinks(packed.len(), content.len()).then_some(packed))
    }

    /// Whether pieces from all over a content shrink together. One that is hardly longer than they
    /// would be is tried as a whole.
    fn seems_to_shrink(&mut self, content: &[u8]) -> Result<bool, Error> {
        let pieces = PACK_SAMPLES * PACK_SAMPLE_BYTES;
        if content.len() < 4 * pieces {
            return Ok(true);
        }
        let step = content.len() / PACK_SAMPLES;
        let mut sample = Vec::with_capacity(pieces);
        for piece in content.chunks(step).take(PACK_SAMPLES) {
            sample.extend_from_slice(&piece[..PACK_SAMPLE_BYTES.min(piece.len())]);
        }
        let packed = self.sampler.compress(&sample);
        let packed = packed.map_err(|error| cant("compress", &error))?;
        Ok(shrinks(packed.len(), sample.len()))
    }
}

/// Unpacks contents, one after the other; kept by a thread.
pub struct Unpacker(Decompressor<'static>);

impl Unpacker {
    /// One with its working memory.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn new() -> Result<Unpacker, Error> {
        Decompressor::new().map(Unpacker).map_err(|error| cant("decompress", &error))
    }

    /// What was packed, `plain` bytes.
    ///
    /// # Errors
    /// When a frame announces more than any may hold, or is not what was announced.
    pub fn unpack(&mut self, packed: &[u8], plain: u32) -> Result<Vec<u8>, Error> {
        if i64::from(plain) > FRAME_BYTES_MAX {
            return Err(Error::Protocol(format!("A content of {plain} bytes in one message")));
        }
        let content = self.0.decompress(packed, plain as usize);
        let content = content.map_err(|error| cant("decompress", &error))?;
        if content.len() != plain as usize {
            let bytes = content.len();
            return Err(Error::Protocol(format!("{bytes} bytes of content instead of {plain}")));
        }
        Ok(content)
    }
}

/// Whether so many bytes instead of so many are worth the work at both ends.
fn shrinks(packed: usize, plain: usize) -> bool {
    packed.saturating_mul(100) <= plain.saturating_mul(PACK_SHRINKS_PERCENT)
}

fn cant(what: &str, error: &std::io::Error) -> Error {
    Error::Protocol(format!("Can't {what} a content: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Packer, Unpacker};
    use crate::model::limits::{FRAME_BYTES_MAX, PACK_BYTES_MIN};

    /// Bytes that nothing makes smaller.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn text(bytes: usize) -> Vec<u8> {
        b"as it was, so it is; ".iter().copied().cycle().take(bytes).collect()
    }

    #[test]
    fn what_shrinks_is_packed_and_comes_back() {
        let (mut packer, mut unpacker) = (Packer::new(3).unwrap(), Unpacker::new().unwrap());
        for bytes in [PACK_BYTES_MIN, 30_000, 512 * 1024] {
            let content = text(bytes);
            let packed = packer.pack(&content).unwrap().unwrap();
            assert!(packed.len() < bytes / 2);
            assert_eq!(unpacker.unpack(&packed, bytes as u32).unwrap(), content);
        }
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let mut packer = Packer::new(3).unwrap();
        for content in [vec![], text(PACK_BYTES_MIN - 1), noise(3_000), noise(512 * 1024)] {
            assert_eq!(packer.pack(&content).unwrap(), None, "{} bytes", content.len());
        }
        // Pieces from all over decide, not the beginning.
        let mixed = [noise(64 * 1024), text(448 * 1024)].concat();
        assert!(packer.pack(&mixed).unwrap().is_some());
    }

    #[test]
    fn nothing_grows_beyond_what_was_announced() {
        let (mut packer, mut unpacker) = (Packer::new(19).unwrap(), Unpacker::new().unwrap());
        let packed = packer.pack(&vec![0; 4 << 20]).unwrap().unwrap();
        assert!(packed.len() < 1_000);
        for plain in [0, 1, 1_000, (4 << 20) - 1, (4 << 20) + 1] {
            assert!(unpacker.unpack(&packed, plain).is_err(), "{plain}");
        }
        assert_eq!(unpacker.unpack(&packed, 4 << 20).unwrap(), vec![0; 4 << 20]);
        let beyond = u32::try_from(FRAME_BYTES_MAX).unwrap() + 1;
        assert!(unpacker.unpack(&packed, beyond).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), plain in 0..100_000_u32) {
            let unpacked = Unpacker::new().unwrap().unpack(&bytes, plain);
            if let Ok(content) = unpacked {
                prop_assert_eq!(content.len(), plain as usize);
            }
        }
    }
}
