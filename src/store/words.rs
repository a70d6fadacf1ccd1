//! Lists of checksums and hashes as the catalog keeps them: 4 bytes each, little-endian.

/// The numbers of such a list; bytes beyond the last whole one are passed over.
pub fn from_bytes<T: FromIterator<u32>>(bytes: &[u8]) -> T {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default())).collect()
}

/// The inverse of [`from_bytes`].
pub fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
