//! The allocator of a broker, and how it is set. Whoever measures the memory of a broker in a process of its own includes
//! this file, or would measure how another allocator keeps what was freed.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How the allocator is set. Memory goes back to the system from a thread of its own, ten seconds after it was freed:
/// giving large buffers back at once, as is its default, makes the kernel fill them with zeros again for every read. There
/// are as many arenas as cores and not four times as many, of which most threads would have one each: they are idle mostly,
/// and an arena holds some pages of its own.
#[repr(transparent)]
struct AllocatorConf(*const std::ffi::c_char);

// SAFETY: it points at a constant, which nobody changes.
unsafe impl Sync for AllocatorConf {}

// SAFETY: the name and the type of jemalloc's own variable, with the prefix that its crate gives it.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_CONF: AllocatorConf = AllocatorConf(
    c"background_thread:true,narenas_ratio:1,oversize_threshold:0,dirty_decay_ms:10000,muzzy_decay_ms:0".as_ptr(),
);
