//! Page-aligned memory for direct I/O.

/// Alignment that direct I/O needs on every device.
pub const PAGE: usize = 4096;

/// A zeroed byte buffer whose first byte lies at a page boundary, as `O_DIRECT` demands. Without unsafe code: a page too
/// much is allocated and the slice begins inside it.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Box<[u8]>,
    offset: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeroed bytes.
    pub fn zeroed(len: usize) -> Self {
        let memory = vec![0; len + PAGE].into_boxed_slice();
        let offset = memory.as_ptr().align_offset(PAGE);
        // `align_offset` may decline to compute; the addresses of a byte slice always allow it.
        let offset = if offset < PAGE { offset } else { 0 };
        Self { memory, offset, len }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.offset..self.offset + self.len]
    }

    /// The bytes, to change.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.offset..self.offset + self.len]
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_begins_at_a_page() {
        for len in [0, 1, PAGE, PAGE + 1, 1 << 20] {
            let buffer = AlignedBuffer::zeroed(len);
            assert_eq!(buffer.as_slice().as_ptr() as usize % PAGE, 0);
            assert_eq!(buffer.as_slice().len(), len);
        }
    }
}
