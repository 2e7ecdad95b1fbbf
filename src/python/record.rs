//! `RECORD`: the files of a wheel with their digests (PEP 376 "RECORD", PEP 427 "The .dist-info directory").

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::Digest;
use crate::image_path::ImagePath;

/// The digests by path; nothing for files that cannot hold their own (the record and its signatures).
pub(super) type Record = BTreeMap<ImagePath, Option<Digest>>;

/// Reads the text of a `RECORD`; the error says what is wrong with which line.
pub(super) fn read(text: &str) -> Result<Record, String> {
    let mut record = Record::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let refused = |rule: &str| format!("line {} of RECORD {rule}", number + 1);
        let fields = fields(line).ok_or_else(|| refused("is no line of three fields"))?;
        let [path, digest, _size] = fields;
        let path: ImagePath = path.parse().map_err(|error| refused(&format!("has no path: {error}")))?;
        let digest = match digest.split_once('=') {
            None if digest.is_empty() => None,
            Some(("sha256", encoded)) => {
                let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| refused("has a digest that cannot be read"))?;
                let digest = Digest::from_hex(&hex::encode(bytes));
                Some(digest.map_err(|_| refused("has a digest of the wrong length"))?)
            }
            // PEP 427 demands SHA-256 or better; nobody publishes others, and weaker ones prove nothing.
            _ => return Err(refused("has a digest other than SHA-256")),
        };
        if record.insert(path, digest).is_some() {
            return Err(refused("names a file again"));
        }
    }
    Ok(record)
}

/// Splits a line of comma-separated values, where a field may stand in double quotes.
fn fields(line: &str) -> Option<[String; 3]> {
    let mut fields = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        let mut field = String::new();
        if letters.peek() == Some(&'"') {
            letters.next();
            loop {
                match letters.next()? {
                    '"' if letters.peek() == Some(&'"') => {
                        letters.next();
                        field.push('"');
                    }
                    '"' => break,
                    other => field.push(other),
                }
            }
            if !matches!(letters.peek(), None | Some(',')) {
                return None;
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                field.push(letter);
            }
        }
        fields.push(field);
        if letters.next().is_none() {
            break;
        }
    }
    fields.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_bad_ones_refused() {
        let good = "a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n\"b,\"\"c\"\".py\",,\nx/RECORD,,\n";
        let record = read(good).unwrap();
        assert_eq!(record[&"a.py".parse().unwrap()], Some(Digest::of(b"")));
        assert_eq!(record[&"b,\"c\".py".parse().unwrap()], None);
        for (bad, part) in [
            ("a.py", "three fields"),
            ("a.py,b,c,d", "three fields"),
            ("\"a.py,,", "three fields"),
            ("../a.py,,", "no path"),
            ("a.py,md5=AAAA,1", "other than SHA-256"),
            ("a.py,sha256=AAAA,1", "wrong length"),
            ("a.py,sha256=A!,1", "cannot be read"),
            ("a.py,,\na.py,,", "again"),
        ] {
            assert!(read(bad).unwrap_err().contains(part), "{bad}");
        }
    }
}
