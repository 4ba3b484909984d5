//! Sequential readers of one stream: who continues where it left off reads ahead further with every step.

use base::Offset;
use smallvec::SmallVec;

/// Readers remembered per stream; the one that has not moved for longest is forgotten.
const READERS_MAX: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Cursor {
    next: Offset,
    window: u64,
}

/// The sequential readers of a stream, the most recent last.
#[derive(Debug, Default)]
pub(crate) struct Cursors(SmallVec<[Cursor; 1]>);

impl Cursors {
    /// The read-ahead for a read at `from`: it doubles for a reader that continues, and starts small otherwise.
    pub fn window(&self, from: Offset, min: u64, max: u64) -> u64 {
        self.0.iter().find(|c| c.next == from).map_or(min, |c| (c.window * 2).min(max))
    }

    /// A reader moved on.
    pub fn advanced(&mut self, from: Offset, next: Offset, window: u64) {
        if let Some(at) = self.0.iter().position(|c| c.next == from) {
            self.0.remove(at);
        } else if self.0.len() == READERS_MAX {
            self.0.remove(0);
        }
        self.0.push(Cursor { next, window });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_reader_reads_ahead_further_and_a_random_one_does_not() {
        let mut cursors = Cursors::default();
        assert_eq!(cursors.window(Offset(0), 10, 40), 10);
        cursors.advanced(Offset(0), Offset(5), 10);
        assert_eq!(cursors.window(Offset(5), 10, 40), 20);
        cursors.advanced(Offset(5), Offset(9), 20);
        assert_eq!(cursors.window(Offset(9), 10, 40), 40);
        assert_eq!(cursors.window(Offset(7), 10, 40), 10);
    }

    #[test]
    fn the_oldest_reader_is_forgotten() {
        let mut cursors = Cursors::default();
        for reader in 0..=READERS_MAX as u64 {
            cursors.advanced(Offset(1000 + reader), Offset(reader), 10);
        }
        assert_eq!(cursors.window(Offset(0), 10, 40), 10);
        assert_eq!(cursors.window(Offset(1), 10, 40), 20);
    }
}
