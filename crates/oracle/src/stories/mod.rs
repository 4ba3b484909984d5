//! Stories: sequences of requests in which what one does shows in what another says.
//!
//! A story is a function that writes it; what it leaves to the author's random choices differs from seed to seed. A family
//! has a file, and a list of its stories.

use crate::story::{Author, Spoken, Story};

mod configs;
pub mod expiry;
mod fetch;
mod group_admin;
mod groups;
mod idempotence;
mod log;
mod look_ups;
mod membership;
mod metadata;
mod offset_ends;
mod offsets;
mod produce;
mod records;
mod restart;
mod sessions;
mod static_members;
mod topics;
mod versions;

/// A story that can be written.
#[derive(Clone, Copy)]
pub struct Written {
    /// What it is about: `family: what happens`.
    pub name: &'static str,
    /// Writes it.
    pub write: fn(&mut Author<'_>),
}

impl Written {
    /// Writes it with a seed. The name counts, too: else all stories of a seed would make the same choices.
    pub fn written(&self, spoken: &dyn Spoken, seed: u64) -> Option<Story> {
        let mut author = Author::new(spoken, u64::from(crc32fast::hash(self.name.as_bytes())) << 32 | seed);
        (self.write)(&mut author);
        author.finish(self.name.to_owned(), seed)
    }
}

/// All stories, family by family; [`expiry`]'s have a pair of their own.
pub fn all() -> Vec<Written> {
    [
        groups::STORIES,
        static_members::STORIES,
        group_admin::STORIES,
        offsets::STORIES,
        offset_ends::STORIES,
        topics::STORIES,
        metadata::STORIES,
        configs::STORIES,
        versions::STORIES,
        records::STORIES,
        produce::STORIES,
        idempotence::STORIES,
        fetch::STORIES,
        sessions::STORIES,
        look_ups::STORIES,
        restart::STORIES,
    ]
    .concat()
}
