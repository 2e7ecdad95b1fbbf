//! Output of a program, line by line.
//!
//! Owns the cutting of two byte streams into bounded lines of valid UTF-8. Must not print.

use std::io::{self, Read};

/// The longest line that is told in one piece, in bytes; a longer one comes in several, so that a program without line
/// ends cannot fill the memory.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Which of its two outputs a program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Somebody who listens to a program's output, from any thread.
pub trait OutputLines: Sync {
    /// Takes one line without its end, at most [`LONGEST_LINE`] bytes of output; invalid UTF-8 is replaced.
    fn line(&self, stream: OutputStream, line: &str);
}

/// Cuts one stream of bytes into lines.
pub(super) struct LineCutter<'a> {
    stream: OutputStream,
    output: &'a dyn OutputLines,
    pending: Vec<u8>,
}

impl<'a> LineCutter<'a> {
    /// Makes a cutter that tells `output` the lines of `stream`.
    pub(super) fn new(stream: OutputStream, output: &'a dyn OutputLines) -> Self {
        Self { stream, output, pending: Vec::new() }
    }

    /// Takes the next bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = piece.strip_suffix(b"\n");
            let mut text = ended.unwrap_or(piece);
            while self.pending.len() + text.len() > LONGEST_LINE {
                let (head, tail) = text.split_at(LONGEST_LINE - self.pending.len());
                self.pending.extend_from_slice(head);
                self.tell();
                text = tail;
            }
            self.pending.extend_from_slice(text);
            if ended.is_some() {
                self.tell();
            }
        }
    }

    /// Tells what is left without a line end.
    pub(super) fn finish(mut self) {
        if !self.pending.is_empty() {
            self.tell();
        }
    }

    /// Takes in everything that `from` gives until its end.
    pub(super) fn drain(mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.finish();
        Ok(())
    }

    fn tell(&mut self) {
        let line = self.pending.strip_suffix(b"\r").unwrap_or(&self.pending);
        self.output.line(self.stream, &String::from_utf8_lossy(line));
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl OutputLines for Recorder {
        fn line(&self, _: OutputStream, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let recorder = Recorder::default();
        let mut cutter = LineCutter::new(OutputStream::Stdout, &recorder);
        chunks.iter().for_each(|chunk| cutter.push(chunk));
        cutter.finish();
        recorder.0.into_inner().unwrap()
    }

    #[test]
    fn chunks_become_lines() {
        let table: [(&[&[u8]], &[&str]); 7] = [
            (&[], &[]),
            (&[b"one\ntwo\n"], &["one", "two"]),
            (&[b"o", b"ne\nt", b"wo"], &["one", "two"]),
            (&[b"\n\n"], &["", ""]),
            (&[b"dos\r\n"], &["dos"]),
            (&[b"a\xffb\n"], &["a\u{fffd}b"]),
            (&["ä".as_bytes().get(..1).unwrap(), "ä\n".as_bytes().get(1..).unwrap()], &["ä"]),
        ];
        for (chunks, lines) in table {
            assert_eq!(cut(chunks), lines);
        }
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let endless = vec![b'x'; 3 * LONGEST_LINE + 5];
        let lengths: Vec<usize> = cut(&[&endless]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, LONGEST_LINE, 5]);
    }

    #[test]
    fn a_line_of_exactly_the_longest_length_is_one_line() {
        let mut line = vec![b'x'; LONGEST_LINE];
        line.push(b'\n');
        assert_eq!(cut(&[&line]).len(), 1);
        assert_eq!(cut(&[line.get(..LONGEST_LINE).unwrap(), b"\nnext"]).len(), 2);
    }
}
