//! I-2: after an acknowledgement the records survive, and with idempotence none is stored twice.
//!
//! Clients know what was acknowledged and read all of it in the end: the rules of `judge` that are about this.

/// Those rules.
pub(super) const RULES: [&str; 3] = ["duplicate", "lost-write", "unseen"];
