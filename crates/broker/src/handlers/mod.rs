//! Request handlers, one file for each API key, as the table of [`crate::api`] lists them. A handler is a function from a
//! typed request, with the [`Call`](crate::call::Call) that it came in, to a typed response; the order of requests, framing
//! and connections are none of its business.

macro_rules! modules {
    ($($key:ident, $file:literal, $module:ident, $run:ident, $reply:ident $(($foreseen:path))?;)*) => {
        $(
            #[path = $file]
            pub(crate) mod $module;
        )*
    };
}
crate::api::each_served!(modules);
