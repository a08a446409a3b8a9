//! Keys, as kvreg and all its peers get them.

/// Bytes of a key, or of a name.
pub const LEN: usize = 10;

/// Keys of ten bytes, one after another.
pub struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    /// The keys of these numbers, in their order.
    pub fn numbered(numbers: impl Iterator<Item = usize>) -> Keys {
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend_from_slice(format!("k{number:09}").as_bytes());
        }
        Keys { bytes }
    }

    /// `count` of the first `distinct` keys, in an order that no cache foresees.
    pub fn shuffled(distinct: usize, count: usize) -> Keys {
        let mut random = Random(88172645463325252);
        let mut order: Vec<usize> = (0..count).map(|i| i % distinct).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        Keys::numbered(order.into_iter())
    }

    /// `count` keys out of the first `distinct`, by chance.
    pub fn random(distinct: usize, count: usize) -> Keys {
        let mut random = Random(88172645463325252);
        Keys::numbered((0..count).map(|_| random.below(distinct)))
    }

    /// So many at a time.
    pub fn parts(&self, keys: usize) -> impl Iterator<Item = Keys> + '_ {
        let part = |bytes: &[u8]| Keys {
            bytes: bytes.to_vec(),
        };
        self.bytes.chunks(keys * LEN).map(part)
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / LEN
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.bytes.chunks_exact(LEN)
    }
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
