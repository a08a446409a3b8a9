//! CRC-32 as zip, PNG and Ethernet have it, eight bytes at a time.

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut at = 1;
    while at < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[at - 1][byte];
            tables[at][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        at += 1;
    }
    tables
}

static TABLES: [[u32; 256]; 8] = tables();

/// The checksum of some bytes behind those that `before` is the checksum of; 0 is that of none.
pub(super) fn checksum(before: u32, bytes: &[u8]) -> u32 {
    let mut sum = !before;
    let eights = bytes.chunks_exact(8);
    let rest = eights.remainder();
    for eight in eights {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let word = u64::from_le_bytes(word) ^ u64::from(sum);
        let bytes = word.to_le_bytes();
        sum = (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][usize::from(bytes[at])]);
    }
    for byte in rest {
        sum = (sum >> 8) ^ TABLES[0][usize::from(sum as u8 ^ byte)];
    }
    !sum
}

#[cfg(all(test, feature = "capi"))]
mod tests {
    use super::checksum;

    #[test]
    fn it_is_that_of_everybody() {
        assert_eq!(checksum(0, b""), 0);
        assert_eq!(checksum(0, b"123456789"), 0xcbf4_3926);
        let text = b"The quick brown fox jumps over the lazy dog";
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(checksum(checksum(0, one), other), 0x414f_a339);
        }
    }
}
