//! The notation of schemas: text → messages.
//!
//! ```text
//! # A comment.
//! api 0 Produce              key and name; two messages, ProduceRequest and ProduceResponse, follow
//! versions 3-13              the versions that exist
//! flexible 9+                the first with compact lengths and tagged fields, or `none`
//!
//! request                    then `response`, of the same form
//!   struct Owner             optional: a struct that several fields use
//!     id    i32
//!   topics  [Topic]?5+ 4+    name, type, versions; the fields of the struct `Topic` stand below, indented
//!     name  string
//! ```
//!
//! Instead of `api`, `data NAME` with one block `fields` tells of a message that is no request. A file may hold
//! several. One line of a field is described in `field.rs`.

use crate::field;
use crate::schema::{Fault, Field, Kind, Message, Range, Role, Struct};

/// A line that says something.
struct Line<'a> {
    number: usize,
    /// Steps of two spaces before it.
    depth: usize,
    text: &'a str,
}

/// Lines that were not read yet.
struct Lines<'a> {
    lines: Vec<Line<'a>>,
    next: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&Line<'a>> {
        self.lines.get(self.next)
    }

    fn take(&mut self, depth: usize) -> Option<(usize, &'a str)> {
        let line = self.peek().filter(|line| line.depth == depth)?;
        let found = (line.number, line.text);
        self.next += 1;
        Some(found)
    }

    /// Number of the next line, or of the last one.
    fn number(&self) -> usize {
        self.peek().or(self.lines.last()).map_or(1, |line| line.number)
    }

    /// The rest of the next line, which must be of this depth and begin with `word`.
    fn expect(&mut self, depth: usize, word: &str) -> Result<(usize, &'a str), Fault> {
        let number = self.number();
        let (number, text) =
            self.take(depth).ok_or_else(|| Fault::new(number, format!("`{word}` expected")))?;
        match text.strip_prefix(word) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok((number, rest.trim())),
            _ => Err(Fault::new(number, format!("`{word}` expected, not `{text}`"))),
        }
    }
}

/// All messages of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Message>, Fault> {
    let mut lines = Lines { lines: split(text)?, next: 0 };
    let mut messages = Vec::new();
    while let Some((number, line)) = lines.take(0) {
        let words = line.split_whitespace().collect::<Vec<_>>();
        match words.as_slice() {
            ["api", key, name] => {
                let key = key.parse().map_err(|_| Fault::new(number, format!("`{key}` is no API key")))?;
                api(&mut lines, key, name, &mut messages)?;
            }
            ["data", name] => {
                let (versions, flexible) = versions(&mut lines)?;
                lines.expect(0, "fields")?;
                messages.push(message(&mut lines, name, Role::Data, versions, flexible)?);
            }
            _ => {
                return Err(Fault::new(
                    number,
                    format!("`api KEY NAME` or `data NAME` expected, not `{line}`"),
                ));
            }
        }
    }
    if let Some(line) = lines.peek() {
        return Err(Fault::new(line.number, "indented, but belongs to nothing"));
    }
    Ok(messages)
}

fn api(lines: &mut Lines<'_>, key: i16, name: &str, messages: &mut Vec<Message>) -> Result<(), Fault> {
    let (versions, flexible) = versions(lines)?;
    for (word, role, suffix) in
        [("request", Role::Request(key), "Request"), ("response", Role::Response(key), "Response")]
    {
        lines.expect(0, word)?;
        messages.push(message(lines, &format!("{name}{suffix}"), role, versions, flexible)?);
    }
    Ok(())
}

fn split(text: &str) -> Result<Vec<Line<'_>>, Fault> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let said = line.split('#').next().unwrap_or_default().trim_end();
        let text = said.trim_start_matches(' ');
        let indent = said.len() - text.len();
        if text.is_empty() {
            continue;
        }
        if text.starts_with('\t') || indent % 2 != 0 {
            return Err(Fault::new(index + 1, "indent by steps of two spaces"));
        }
        lines.push(Line { number: index + 1, depth: indent / 2, text });
    }
    Ok(lines)
}

fn versions(lines: &mut Lines<'_>) -> Result<(Range, Option<i16>), Fault> {
    let (number, text) = lines.expect(0, "versions")?;
    let versions = match field::range(text, i16::MAX) {
        Some(range) if range.last < i16::MAX => range,
        _ => return Err(Fault::new(number, format!("`{text}` is no range like `3-13`"))),
    };
    let (number, text) = lines.expect(0, "flexible")?;
    let flexible = match field::range(text, versions.last) {
        _ if text == "none" => None,
        Some(range) if range.last == versions.last => Some(range.first),
        _ => return Err(Fault::new(number, format!("`{text}` is neither `none` nor a range like `9+`"))),
    };
    Ok((versions, flexible))
}

/// The block of fields of a message: shared structs first.
fn message(
    lines: &mut Lines<'_>,
    name: &str,
    role: Role,
    versions: Range,
    flexible: Option<i16>,
) -> Result<Message, Fault> {
    let first = lines.number();
    let mut shared = Vec::new();
    while let Some(line) = lines.peek().filter(|line| line.depth == 1 && line.text.starts_with("struct ")) {
        let (number, name) = (line.number, line.text.trim_start_matches("struct").trim());
        lines.next += 1;
        let mut block = Block { lines, versions, path: format!("{name}."), structs: Vec::new() };
        let fields = block.fields(2, number)?;
        let nested = block.structs;
        shared.push(Struct { name: name.to_owned(), path: format!("{name}."), versions, fields });
        shared.extend(nested);
    }
    let mut block = Block { lines, versions, path: String::new(), structs: Vec::new() };
    // A message may be empty.
    let fields = if block.lines.peek().is_some_and(|line| line.depth == 1) {
        block.fields(1, first)?
    } else {
        Vec::new()
    };
    let mut structs = vec![Struct { name: name.to_owned(), path: String::new(), versions, fields }];
    structs.extend(block.structs);
    structs.extend(shared);
    check_structs(&structs, first)?;
    Ok(Message { name: name.to_owned(), role, versions, flexible, structs })
}

/// Fields that stand below one another, and the structs found on the way.
struct Block<'b, 'a> {
    lines: &'b mut Lines<'a>,
    versions: Range,
    path: String,
    structs: Vec<Struct>,
}

impl Block<'_, '_> {
    fn fields(&mut self, depth: usize, above: usize) -> Result<Vec<Field>, Fault> {
        let mut fields = Vec::<Field>::new();
        while let Some((number, text)) = self.lines.take(depth) {
            let field = field::parse(text, self.versions).map_err(|text| Fault::new(number, text))?;
            if fields.iter().any(|other| other.name == field.name) {
                return Err(Fault::new(number, format!("a second field `{}`", field.name)));
            }
            if field.tag.is_some() && fields.iter().any(|other| other.tag == field.tag) {
                return Err(Fault::new(number, "a second field of this tag"));
            }
            if self.lines.peek().is_some_and(|line| line.depth > depth) {
                self.nested(&field, depth + 1, number)?;
            }
            fields.push(field);
        }
        if fields.is_empty() {
            return Err(Fault::new(above, "fields expected below this line"));
        }
        Ok(fields)
    }

    /// The struct whose fields stand below `field`.
    fn nested(&mut self, field: &Field, depth: usize, number: usize) -> Result<(), Fault> {
        let Kind::Struct(name) = &field.kind else {
            return Err(Fault::new(number + 1, format!("`{}` has no fields of its own", field.name)));
        };
        let (versions, path) = (self.versions, self.path.clone());
        self.versions = field.versions;
        self.path = format!("{path}{}.", field.name);
        let at = self.structs.len();
        let fields = self.fields(depth, number)?;
        let nested = Struct { name: name.clone(), path: self.path.clone(), versions: field.versions, fields };
        self.structs.insert(at, nested);
        (self.versions, self.path) = (versions, path);
        Ok(())
    }
}

/// Each struct must be told once, and each that is used must be told.
fn check_structs(structs: &[Struct], line: usize) -> Result<(), Fault> {
    let named = |name: &str| structs.iter().filter(|other| other.name == name).count();
    for found in structs {
        if named(&found.name) > 1 {
            return Err(Fault::new(line, format!("two structs `{}` in this message", found.name)));
        }
        for field in &found.fields {
            if let Kind::Struct(name) = &field.kind
                && named(name) == 0
            {
                return Err(Fault::new(
                    line,
                    format!("`{}` is of a struct `{name}` that is not told", field.name),
                ));
            }
        }
    }
    Ok(())
}
