//! A PNG file of pixels (ISO/IEC 15948): three chunks, each with its checksum.

use anyhow::Result;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;

/// Eight bits of red, green and blue, no interlacing.
const KIND: [u8; 5] = [8, 2, 0, 0, 0];

/// The file of `pixels`, three bytes each, row by row.
///
/// # Errors
/// When it cannot be compressed.
pub fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut header = Vec::with_capacity(13);
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend(KIND);
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks_exact(width as usize * 3) {
        // No filter: lines on white compress well without.
        rows.write_all(&[0])?;
        rows.write_all(row)?;
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(b"IHDR", &header, &mut file)?;
    chunk(b"IDAT", &rows.finish()?, &mut file)?;
    chunk(b"IEND", &[], &mut file)?;
    Ok(file)
}

fn chunk(name: &[u8; 4], data: &[u8], file: &mut Vec<u8>) -> Result<()> {
    file.extend(u32::try_from(data.len())?.to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(data);
    let checksum = crc32fast::hash(&file[start..]);
    file.extend(checksum.to_be_bytes());
    Ok(())
}
