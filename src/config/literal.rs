//! Python literals, as the values of overrides are written.
//!
//! Follows what `ast.literal_eval` takes (The Python Language Reference, "Literals" and "Expressions"), without bytes,
//! complex numbers and format strings, which no key wants. Everything else is no literal, and its text is the value.

use super::tree::{Entry, Tree, Value};
use super::{Origin, yaml};

/// How deep lists and mappings may nest, as in YAML.
const DEEPEST: usize = 24;

/// Reads the value of an override.
///
/// A Python literal is what it says; `true`, `false` and `null` are what JSON and YAML say; a list or mapping that is no
/// Python is read as YAML, and thereby JSON; anything else is a text.
pub fn value(text: &str, key: &str) -> Tree {
    let origin = Origin::Override { key: key.to_owned() };
    let trimmed = text.trim();
    if let Some(value) = parse(trimmed, &origin) {
        return Tree::new(value, origin);
    }
    let value = match trimmed {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        "null" => Value::Null,
        _ if trimmed.starts_with(['[', '{']) => match yaml::parse_override(trimmed, key) {
            Ok(tree) => return tree,
            Err(_) => Value::Text(text.to_owned()),
        },
        _ => Value::Text(text.to_owned()),
    };
    Tree::new(value, origin)
}

/// Reads one Python literal, or nothing if the text is none.
fn parse(text: &str, origin: &Origin) -> Option<Value> {
    let mut parser = Parser { rest: text, origin, depth: 0 };
    // An unparenthesised tuple is a literal too: `1, 3, 8, 8`.
    let first = parser.value()?;
    parser.space();
    if parser.rest.is_empty() {
        return Some(first);
    }
    let mut items = vec![Tree::new(first, origin.clone())];
    while parser.take(',') {
        parser.space();
        if parser.rest.is_empty() {
            return Some(Value::List(items));
        }
        items.push(Tree::new(parser.value()?, origin.clone()));
        parser.space();
    }
    parser.rest.is_empty().then_some(Value::List(items))
}

/// A number without its sign.
enum Number {
    Whole(i128),
    Float(f64),
}

struct Parser<'t> {
    rest: &'t str,
    origin: &'t Origin,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn space(&mut self) {
        // A line ends an expression that is not in brackets.
        let spaces: &[char] = if self.depth > 0 { &[' ', '\t', '\u{c}', '\n', '\r'] } else { &[' ', '\t', '\u{c}'] };
        loop {
            self.rest = self.rest.trim_start_matches(spaces);
            if !self.rest.starts_with('#') {
                return;
            }
            // A comment goes to the end of its line.
            self.rest = self.rest.find('\n').and_then(|end| self.rest.get(end..)).unwrap_or_default();
        }
    }

    fn take(&mut self, letter: char) -> bool {
        self.space();
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn tree(&mut self) -> Option<Tree> {
        self.value().map(|value| Tree::new(value, self.origin.clone()))
    }

    fn value(&mut self) -> Option<Value> {
        self.space();
        match self.rest.chars().next()? {
            '[' => self.nested(Self::list),
            '(' => self.nested(Self::parenthesised),
            '{' => self.nested(Self::braced),
            _ if self.at_string() => self.strings(),
            '0'..='9' | '.' | '+' | '-' => self.signed(),
            letter if letter.is_ascii_alphabetic() => self.word(),
            _ => None,
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth += 1;
        let value = if self.depth <= DEEPEST { read(self) } else { None };
        self.depth -= 1;
        value
    }

    /// A list, from its bracket on.
    fn list(&mut self) -> Option<Value> {
        self.take('[');
        self.items(Vec::new(), ']')
    }

    /// The remaining items of a list up to `close`; each but the last is followed by a comma.
    fn items(&mut self, mut items: Vec<Tree>, close: char) -> Option<Value> {
        while !self.take(close) {
            items.push(self.tree()?);
            if !self.take(',') {
                return self.take(close).then_some(Value::List(items));
            }
        }
        Some(Value::List(items))
    }

    /// A tuple, or a value in parentheses: only a comma makes a tuple.
    fn parenthesised(&mut self) -> Option<Value> {
        self.take('(');
        if self.take(')') {
            return Some(Value::List(Vec::new()));
        }
        let first = self.tree()?;
        if self.take(')') {
            return Some(first.value);
        }
        if self.take(',') { self.items(vec![first], ')') } else { None }
    }

    /// A mapping or a set; a set is a list to every key.
    fn braced(&mut self) -> Option<Value> {
        self.take('{');
        if self.take('}') {
            return Some(Value::Map(Vec::new()));
        }
        let first = self.tree()?;
        if self.take(',') {
            return self.items(vec![first], '}');
        }
        if self.take('}') {
            return Some(Value::List(vec![first]));
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut key = first.value;
        loop {
            let name = match key {
                Value::Text(text) => text,
                Value::Integer(number) => number.to_string(),
                _ => return None,
            };
            if !self.take(':') {
                return None;
            }
            let value = self.tree()?;
            // As in Python, a later value of the same key wins.
            entries.retain(|entry| entry.key != name);
            entries.push(Entry { key: name, origin: self.origin.clone(), value });
            let more = self.take(',');
            if self.take('}') {
                return Some(Value::Map(entries));
            }
            if !more {
                return None;
            }
            key = self.value()?;
        }
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::Boolean(true),
            "False" => Value::Boolean(false),
            "None" => Value::Null,
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    fn signed(&mut self) -> Option<Value> {
        let (negative, rest) = match self.rest.split_at_checked(1) {
            Some(("-", rest)) => (true, rest),
            Some(("+", rest)) => (false, rest),
            _ => (false, self.rest),
        };
        self.rest = rest;
        let mut open = 0;
        while self.take('(') {
            open += 1;
        }
        let number = match self.number()? {
            Number::Whole(value) => {
                let value = if negative { -value } else { value };
                i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer)
            }
            Number::Float(value) => Value::Float(if negative { -value } else { value }),
        };
        (0..open).all(|_| self.take(')')).then_some(number)
    }

    fn number(&mut self) -> Option<Number> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            let exponent_sign = matches!(byte, b'+' | b'-')
                && end > 0
                && matches!(bytes.get(end - 1), Some(b'e' | b'E'))
                && !matches!(bytes.get(1), Some(b'x' | b'X'));
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent_sign) {
                break;
            }
            end += 1;
        }
        let (written, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Underscores stand between digits only, or behind the prefix of a radix.
        let prefixed = matches!(written.as_bytes(), [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
        let digit = |byte: Option<&u8>, at: usize| {
            byte.is_some_and(|byte| byte.is_ascii_digit() || prefixed && (byte.is_ascii_hexdigit() || at == 1))
        };
        let misplaced = written.bytes().enumerate().any(|(at, byte)| {
            let bytes = written.as_bytes();
            let before = at.checked_sub(1);
            byte == b'_'
                && !(before.is_some_and(|before| digit(bytes.get(before), before)) && digit(bytes.get(at + 1), at + 1))
        });
        if written.is_empty() || misplaced {
            return None;
        }
        let digits = written.replace('_', "");
        let lower = digits.to_ascii_lowercase();
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = lower.strip_prefix(prefix) {
                if digits.starts_with(['+', '-']) {
                    return None;
                }
                return i128::from_str_radix(digits, radix).ok().map(Number::Whole);
            }
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // Python has no numbers such as `007`.
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0') {
                return None;
            }
            return Some(
                digits.parse().map_or_else(|_| Number::Float(digits.parse().unwrap_or(f64::INFINITY)), Number::Whole),
            );
        }
        // Words such as `inf` do not come here: a number begins with a digit or a dot.
        if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return None;
        }
        digits.parse().ok().map(Number::Float)
    }

    fn at_string(&self) -> bool {
        let unprefixed = self.rest.strip_prefix(['r', 'R', 'u', 'U']).unwrap_or(self.rest);
        unprefixed.starts_with(['\'', '"'])
    }

    /// One string literal or several in a row, which Python joins.
    fn strings(&mut self) -> Option<Value> {
        let mut text = self.string()?;
        loop {
            self.space();
            if !self.at_string() {
                return Some(Value::Text(text));
            }
            text.push_str(&self.string()?);
        }
    }

    fn string(&mut self) -> Option<String> {
        let raw = self.rest.starts_with(['r', 'R']);
        let body = self.rest.strip_prefix(['r', 'R', 'u', 'U']).unwrap_or(self.rest);
        let quote = body.chars().next()?;
        let triple = if quote == '"' { "\"\"\"" } else { "'''" };
        let close: &str = if body.starts_with(triple) { triple } else { triple.get(..1)? };
        let mut rest = body.strip_prefix(close)?;
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(close) {
                self.rest = after;
                return Some(text);
            }
            let letter = rest.chars().next()?;
            rest = rest.get(letter.len_utf8()..)?;
            match letter {
                '\n' if close.len() == 1 => return None,
                '\\' if raw => {
                    let next = rest.chars().next()?;
                    rest = rest.get(next.len_utf8()..)?;
                    text.extend(['\\', next]);
                }
                '\\' => rest = escape(rest, &mut text)?,
                letter => text.push(letter),
            }
        }
    }
}

/// Reads what follows a backslash and returns the rest.
fn escape<'t>(rest: &'t str, text: &mut String) -> Option<&'t str> {
    let letter = rest.chars().next()?;
    let after = rest.get(letter.len_utf8()..)?;
    let code = |length: usize| {
        let digits = after.get(..length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, after.get(length..)?))
    };
    let plain = match letter {
        '\n' => return Some(after),
        '\\' | '\'' | '"' => letter,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'x' | 'u' | 'U' => {
            let length = match letter {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let (letter, rest) = code(length)?;
            text.push(letter);
            return Some(rest);
        }
        // A letter by its name in Unicode; without a table of those, the text is no literal.
        'N' => return None,
        '0'..='7' => {
            let digits = rest.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let (digits, rest) = rest.split_at(digits);
            text.push(char::from_u32(u32::from_str_radix(digits, 8).ok()?)?);
            return Some(rest);
        }
        // Python keeps the backslash of an unknown escape.
        other => {
            text.extend(['\\', other]);
            return Some(after);
        }
    };
    text.push(plain);
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_what_python_json_and_yaml_say() {
        for (text, expected) in [
            ("5", json!(5)),
            ("-.5", json!(-0.5)),
            ("1e-3", json!(1e-3)),
            ("0x10", json!(16)),
            ("- 7", json!(-7)),
            ("1_000", json!(1000)),
            ("5.", json!(5.0)),
            ("[1,3,8,8]", json!([1, 3, 8, 8])),
            ("(1,3,8,8)", json!([1, 3, 8, 8])),
            ("1, 3, 8, 8", json!([1, 3, 8, 8])),
            ("(7)", json!(7)),
            ("(7,)", json!([7])),
            ("()", json!([])),
            ("[]", json!([])),
            ("{}", json!({})),
            ("{'from':'RGB'}", json!({"from": "RGB"})),
            ("{1, 2}", json!([1, 2])),
            (r#"["--x","5"]"#, json!(["--x", "5"])),
            ("['a' 'b']", json!(["ab"])),
            ("True", json!(true)),
            ("False", json!(false)),
            ("None", json!(null)),
            ("true", json!(true)),
            ("false", json!(false)),
            ("null", json!(null)),
            ("none", json!("none")),
            ("yes", json!("yes")),
            ("s3://b/x", json!("s3://b/x")),
            ("RGB", json!("RGB")),
            ("1 3 8 8", json!("1 3 8 8")),
            ("'imagenet'", json!("imagenet")),
            (r#""'imagenet'""#, json!("'imagenet'")),
            (r"'a\n\x41\u00e4\101\q'", json!("a\nAäA\\q")),
            (r"r'a\n'", json!("a\\n")),
            (
                r#"{"activation_encodings": {"x": [{"is_sym": true}]}}"#,
                json!({"activation_encodings": {"x": [{"is_sym": true}]}}),
            ),
            ("[RGB, BGR]", json!(["RGB", "BGR"])),
            ("{from: RGB}", json!({"from": "RGB"})),
            ("007", json!("007")),
            ("inf", json!("inf")),
            ("nan", json!("nan")),
            ("_1", json!("_1")),
            ("1__0", json!("1__0")),
            ("1.2.3", json!("1.2.3")),
            ("2021.4.2", json!("2021.4.2")),
            ("[1, 2", json!("[1, 2")),
            ("'open", json!("'open")),
            ("", json!("")),
            (" x ", json!(" x ")),
            ("--x", json!("--x")),
            ("Trueish", json!("Trueish")),
        ] {
            assert_eq!(value(text, "key").to_json(), expected, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_a_text() {
        for open in ["[", "(", "{", "{'a':", "-", "(("] {
            let text = open.repeat(100_000);
            assert_eq!(value(&text, "key").value, Value::Text(text.clone()));
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_value(text in "\\PC*") {
            value(&text, "key");
        }

        #[test]
        fn any_literal_like_text_has_a_value(text in "[\\[\\](){}'\",:0-9a-fxe+\\-._\\\\ rTrue]{0,60}") {
            value(&text, "key");
        }
    }
}
