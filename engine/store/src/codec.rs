//! The bytes of small things: numbers, texts, lists. Reading never panics and never trusts a length.

/// Appends an integer in seven-bit groups, lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Rising numbers as differences, so that a run costs one byte each.
pub(crate) fn put_rising(out: &mut Vec<u8>, sorted: &[u64]) {
    put_varint(out, sorted.len() as u64);
    let mut last = 0;
    for number in sorted {
        put_varint(out, number.wrapping_sub(last));
        last = *number;
    }
}

/// Takes values off the front of a byte slice; `None` where it is too short or malformed.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.u8()?);
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn rising(&mut self) -> Option<Vec<u64>> {
        let count = self.count(1)?;
        let mut last = 0_u64;
        (0..count)
            .map(|_| {
                last = last.wrapping_add(self.varint()?);
                Some(last)
            })
            .collect()
    }

    /// A list's length, refused where the items cannot all be there.
    pub(crate) fn count(&mut self, least_bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.0.len() / least_bytes_each).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(mut numbers: Vec<u64>) {
            let mut out = Vec::new();
            for number in &numbers {
                put_varint(&mut out, *number);
            }
            let mut reader = Reader::new(&out);
            for number in &numbers {
                prop_assert_eq!(reader.varint(), Some(*number));
            }
            numbers.sort_unstable();
            let mut out = Vec::new();
            put_rising(&mut out, &numbers);
            prop_assert_eq!(Reader::new(&out).rising(), Some(numbers));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.rising().is_some() || reader.text().is_some() || reader.u128().is_some() {
                if reader.rest().is_empty() { break; }
            }
        }
    }
}
