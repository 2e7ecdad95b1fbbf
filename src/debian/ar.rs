//! The `ar` container of a `.deb` (deb(5): the common format, without the extended names of GNU or BSD).

use std::io::{self, Read};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_END: &[u8; 2] = b"`\n";

/// A reader over the members of an `ar` file, in their order.
pub(super) struct Ar<R> {
    inner: R,
    /// What of the last member, and of its padding, has not been read yet.
    left: u64,
    padding: u64,
}

/// One member.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
}

fn damaged(rule: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

impl<R: Read> Ar<R> {
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        inner.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(damaged("it does not begin like an ar file"));
        }
        Ok(Self { inner, left: 0, padding: 0 })
    }

    /// Moves to the next member, or returns nothing at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let rest = self.left + self.padding;
        if io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())? != rest {
            // Only the padding of the last member may be missing: some writers leave it out.
            return if self.left == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        (self.left, self.padding) = (0, 0);
        let mut header = Vec::with_capacity(60);
        (&mut self.inner).take(60).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let field = |range: std::ops::Range<usize>| {
            header.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::trim_end)
        };
        if header.get(58..60) != Some(HEADER_END) {
            return Err(damaged("a member's header is cut or damaged"));
        }
        let name = field(0..16).unwrap_or_default().trim_end_matches('/').to_owned();
        let size = field(48..58).and_then(|text| text.parse().ok());
        let size: u64 = size.ok_or_else(|| damaged("a member's size is no number"))?;
        (self.left, self.padding) = (size, size % 2);
        Ok(Some(Member { name, size }))
    }

    /// Reads on in the current member.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }
}

/// The rest of the current member; ends with an error when the file does.
pub(super) struct Content<'a, R>(&'a mut Ar<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.0.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the package ends too soon"));
        }
        self.0.left -= count as u64;
        Ok(count)
    }
}
