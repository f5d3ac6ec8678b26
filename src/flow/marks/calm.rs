//! Large content that is being written: it is read once its writer pauses, or has closed it.
//!
//! Events tell of the first of many writes. What is sent then is a state in the midst of them, and
//! the name rests for it in proportion to what that cost before the whole can follow.

use std::time::Duration;

use crate::flow::marks::{Hint, Mark, Marks};
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// How long a writer is to pause before large content is read.
const CALM: Duration = Duration::from_millis(30);
/// Longest time that it waits for that.
const CALM_MAX: Duration = Duration::from_millis(300);

impl Mark {
    /// An event has told of content: whoever waits after it waits for the writer.
    pub(super) fn note_writer(&mut self, hint: Hint, now: Duration, delay: Duration) {
        if hint.content && !hint.second {
            self.written = (!delay.is_zero()).then_some(now);
        }
    }
}

impl Marks {
    /// Puts a busy mark off if its writer is at work. Returns whether it did; then nothing but the
    /// writer's closing brings its look forward.
    pub fn await_calm(&mut self, dir: DirKey, name: &Name, now: Duration) -> bool {
        let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) else {
            return false;
        };
        let latest = *mark.calm_by.get_or_insert(now + CALM_MAX);
        let calm = mark.written.map_or(now, |at| at + CALM).min(latest);
        if now >= calm || mark.failures > 0 {
            return false;
        }
        mark.awaits_calm = true;
        let hint = mark.hint;
        self.put_off(dir, name, hint, calm, false);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::CALM_MAX;
    use crate::flow::marks::tests::{ROOT, ms, name};
    use crate::flow::marks::{Hint, Marks};

    #[test]
    fn large_content_waits_until_its_writer_pauses() {
        let (mut marks, file) = (Marks::default(), name("f"));
        let mut looks = 0;
        let begins = (0..1_000).find(|at| {
            if at % 10 == 0 && *at < 200 {
                marks.mark(ROOT, &file, Hint::CONTENT, ms(*at), ms(20));
            }
            let looks_now = marks.take_ripe(ms(*at), None).is_some();
            looks += u32::from(looks_now);
            looks_now && !marks.await_calm(ROOT, &file, ms(*at))
        });
        assert_eq!(begins, Some(220), "the last event was at 190");
        assert!(looks <= 12, "{looks}: none for each event");
    }

    #[test]
    fn what_its_writer_has_closed_is_read_at_once() {
        let (mut marks, file) = (Marks::default(), name("f"));
        marks.mark(ROOT, &file, Hint::CONTENT, ms(0), ms(20));
        marks.mark(ROOT, &file, Hint::CONTENT, ms(19), ms(20));
        assert!(marks.take_ripe(ms(20), None).is_some());
        assert!(marks.await_calm(ROOT, &file, ms(20)));
        marks.mark(ROOT, &file, Hint::META, ms(21), ms(0));
        assert!(marks.take_ripe(ms(24), None).is_none(), "it is written yet");
        marks.mark(ROOT, &file, Hint::CONTENT, ms(25), ms(0));
        assert!(marks.take_ripe(ms(25), None).is_some());
        assert!(!marks.await_calm(ROOT, &file, ms(25)));
    }

    #[test]
    fn a_writer_that_never_pauses_is_waited_for_so_long_only() {
        let (mut marks, file) = (Marks::default(), name("f"));
        let begins = (0..1_000).find(|at| {
            marks.mark(ROOT, &file, Hint::CONTENT, ms(*at), ms(20));
            marks.take_ripe(ms(*at), None).is_some() && !marks.await_calm(ROOT, &file, ms(*at))
        });
        let first_look = ms(20);
        assert_eq!(begins.map(ms), Some(first_look + CALM_MAX));
        marks.mark(ROOT, &file, Hint::CONTENT, ms(321), ms(20));
        marks.settle(ROOT, &file, ms(330));
        let looks = (330..1_000).find(|at| marks.take_ripe(ms(*at), None).is_some());
        let looks = ms(looks.unwrap());
        marks.mark(ROOT, &file, Hint::CONTENT, looks, ms(20));
        assert!(marks.await_calm(ROOT, &file, looks), "it is waited for anew");
    }
}
