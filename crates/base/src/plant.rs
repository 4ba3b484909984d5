//! Bugs and panics that are planted on purpose, by which a simulator shows that it can see.
//!
//! A planted [`bug`] stands beside the right code and is taken instead when the [host](crate::host) says so; at a planted
//! [`place`] the host may panic. Both are in builds with the feature `planted` only, which nothing but the simulator asks
//! for, and do nothing without a host: in what ships they are constants.

/// Whether anything is planted in this build. What ships says so where it names its version, so that nobody takes one for it.
pub const IS_PLANTED: bool = cfg!(feature = "planted");

/// Whether the bug of that name is to be had here.
#[inline]
pub fn bug(name: &'static str) -> bool {
    #[cfg(feature = "planted")]
    return crate::host::current().is_some_and(|host| host.bug(name));
    #[cfg(not(feature = "planted"))]
    {
        let _ = name;
        false
    }
}

/// A place at which a panic must do no harm.
#[inline]
pub fn place(name: &'static str) {
    #[cfg(feature = "planted")]
    if let Some(host) = crate::host::current() {
        host.place(name);
    }
    #[cfg(not(feature = "planted"))]
    let _ = name;
}
