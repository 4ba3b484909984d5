//! The right to be the only write on the way, given to the oldest that wants it.
//!
//! A write wants it for one attempt at a time and goes without it while it backs off. So who waited for it longest says
//! nothing of who has tried for longest: each has a place in line from its beginning, and keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// When a write began, among those of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The line. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    next: u64,
    is_taken: bool,
    waiting: BTreeMap<Ticket, oneshot::Sender<Turn>>,
}

/// The right, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Turns);

impl Turns {
    /// The next place in line.
    pub(crate) fn ticket(&self) -> Ticket {
        let mut line = self.0.lock();
        line.next += 1;
        Ticket(line.next)
    }

    /// Waits until nobody has the right, and nobody with an older ticket wants it.
    pub(crate) async fn of(&self, ticket: Ticket) -> Turn {
        let (given, turn) = oneshot::channel();
        {
            let mut line = self.0.lock();
            if !line.is_taken {
                line.is_taken = true;
                return Turn(self.clone());
            }
            line.waiting.insert(ticket, given);
        }
        match turn.await {
            Ok(turn) => turn,
            // Its place is another's, who came with the same ticket: nobody asks twice at a time.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut line = self.0.0.lock();
            let next = line.waiting.pop_first();
            line.is_taken = next.is_some();
            next
        };
        if let Some((_, next)) = next {
            // One that is gone gives it back, and so on to the next.
            drop(next.send(Turn(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn waits(turns: &Turns, ticket: Ticket) -> BoxFuture<'static, Turn> {
        let turns = turns.clone();
        let mut wait = async move { turns.of(ticket).await }.boxed();
        assert!((&mut wait).now_or_never().is_none(), "it is taken");
        wait
    }

    #[test]
    fn the_oldest_write_goes_next_however_often_it_had_its_turn() {
        let turns = Turns::default();
        let [oldest, second, youngest] = [(); 3].map(|()| turns.ticket());
        let mut turn = turns.of(second).now_or_never().unwrap();
        for _ in 0..3 {
            // In the line behind the others, as after a wait between two attempts.
            let (mut last, mut first) = (waits(&turns, youngest), waits(&turns, oldest));
            drop(turn);
            assert!((&mut last).now_or_never().is_none());
            let had = (&mut first).now_or_never().unwrap();
            let mut again = waits(&turns, second);
            drop(had);
            assert!((&mut last).now_or_never().is_none());
            turn = (&mut again).now_or_never().unwrap();
        }
        drop(turn);
        assert!(turns.of(youngest).now_or_never().is_some(), "nobody is left");
    }

    #[test]
    fn a_write_that_is_given_up_holds_up_nobody() {
        let turns = Turns::default();
        let tickets = [(); 4].map(|()| turns.ticket());
        let turn = turns.of(tickets[0]).now_or_never().unwrap();
        let (gone, given, mut next) = (waits(&turns, tickets[1]), waits(&turns, tickets[2]), waits(&turns, tickets[3]));
        drop(gone);
        drop(turn);
        assert!((&mut next).now_or_never().is_none());
        // It was given the right, and never knew.
        drop(given);
        assert!((&mut next).now_or_never().is_some());
        assert!(turns.of(tickets[0]).now_or_never().is_some());
    }
}
