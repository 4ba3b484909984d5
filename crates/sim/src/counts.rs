//! Kinds of things that happen, and how often each has. A campaign in which one never occurred has not looked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Declares kinds, with their labels.
macro_rules! kinds {
    ($(#[doc = $outer:literal])+ $name:ident: $($(#[doc = $doc:literal])+ $kind:ident $label:literal,)+) => {
        $(#[doc = $outer])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $kind,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Its name, for tables.
            pub fn label(self) -> &'static str {
                match self { $(Self::$kind => $label,)+ }
            }
        }
    };
}

pub(crate) use kinds;

/// How often each kind has occurred; clones count together.
#[derive(Clone, Debug)]
pub struct Counts<K>(Arc<Mutex<BTreeMap<K, u64>>>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Ord> Counts<K> {
    /// One more.
    pub fn did(&self, kind: K) {
        *self.0.lock().entry(kind).or_default() += 1;
    }

    /// How often each occurred that did.
    pub fn counts(&self) -> BTreeMap<K, u64> {
        self.0.lock().clone()
    }
}
