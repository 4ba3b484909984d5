//! Stories: sequences of requests in which what one does shows in what another says.
//!
//! A story is a function that writes it; what it leaves to the author's random choices differs from seed to seed. A family
//! has a file, and a list of its stories.

use crate::story::Author;

mod records;

/// A story that can be written.
#[derive(Clone, Copy)]
pub struct Written {
    /// What it is about: `family: what happens`.
    pub name: &'static str,
    /// Writes it.
    pub write: fn(&mut Author<'_>),
}

/// All stories, family by family.
pub fn all() -> Vec<Written> {
    [records::STORIES].concat()
}
