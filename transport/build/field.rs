//! One line of a field.
//!
//! ```text
//! name  type  [versions]  [tag N]  [fixed]  [= default]  [ignorable]  [secret]
//! ```
//!
//! - type: `bool i8 i16 u16 i32 u32 i64 f64 string uuid bytes records`, a struct's name, or one of these in brackets
//!   for an array. `?` behind it: may be null; `?5+` or `?2-7`: in these versions only.
//! - versions: `5+`, `2-7` or `3`; without them, all of the message or struct around it.
//! - `tag N`: a tagged field. `fixed`: its length is not compact even in flexible versions.
//! - default: a number, `true`, `null` or a quoted word; without it zero, false or empty (and `null` for records).
//! - `ignorable`: a value that differs from the default is dropped, not refused, in a version without the field.
//! - `secret`: not shown when a message is printed, so that it does not get into a log.

use crate::schema::{Field, Kind, Preset, Range};

/// Names that what is generated takes from elsewhere.
const RESERVED: [&str; 19] = [
    "Array", "Cow", "Default", "Element", "Err", "Message", "None", "Ok", "Option", "Reader", "Records",
    "Refused", "Request", "Response", "Result", "Some", "Uuid", "Versions", "Writer",
];

/// Reads `5+` (to `last`), `2-7` or `3`.
pub(crate) fn range(text: &str, last: i16) -> Option<Range> {
    let range = if let Some(first) = text.strip_suffix('+') {
        Range { first: first.parse().ok()?, last }
    } else if let Some((first, last)) = text.split_once('-') {
        Range { first: first.parse().ok()?, last: last.parse().ok()? }
    } else {
        let only = text.parse().ok()?;
        Range { first: only, last: only }
    };
    (0 <= range.first && range.first <= range.last).then_some(range)
}

/// Reads a line; `outer` are the versions of what is around it. The error is a text.
pub(crate) fn parse(line: &str, outer: Range) -> Result<Field, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(format!("`{name}` is no name of a field"));
    }
    let word = words.next().ok_or_else(|| format!("the type of `{name}` is missing"))?;
    let (kind, array, null) = type_of(word)?;
    let mut field = Field {
        name: name.to_owned(),
        kind,
        array,
        nullable: None,
        versions: outer,
        tag: None,
        fixed: false,
        preset: Preset::Zero,
        ignorable: false,
        secret: false,
    };
    let mut words = words.peekable();
    if let Some(found) = words.peek().and_then(|word| range(word, outer.last)) {
        words.next();
        field.versions = found;
    }
    if !outer.covers(field.versions) {
        return Err(format!("`{name}` has versions that what is around it has not"));
    }
    field.nullable = nullable(null, field.versions).ok_or_else(|| format!("`{word}` is no type"))?;
    attributes(&mut field, words)?;
    check(&field).map_err(str::to_owned)?;
    Ok(field)
}

fn attributes<'a>(field: &mut Field, mut words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    while let Some(word) = words.next() {
        match word {
            "tag" => {
                let tag = words.next().and_then(|word| word.parse().ok());
                field.tag = Some(tag.ok_or("a number expected behind `tag`")?);
            }
            "fixed" => field.fixed = true,
            "ignorable" => field.ignorable = true,
            "secret" => field.secret = true,
            "=" => field.preset = preset(words.next().ok_or("a value expected behind `=`")?)?,
            _ => return Err(format!("`{word}` is not understood")),
        }
    }
    Ok(())
}

/// Kind, whether an array, and what stands behind the question mark.
fn type_of(word: &str) -> Result<(Kind, bool, Option<&str>), String> {
    let (name, null) = word.split_once('?').map_or((word, None), |(name, null)| (name, Some(null)));
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let kind = match inner.unwrap_or(name) {
        "bool" => Kind::Bool,
        "i8" => Kind::I8,
        "i16" => Kind::I16,
        "u16" => Kind::U16,
        "i32" => Kind::I32,
        "u32" => Kind::U32,
        "i64" => Kind::I64,
        "f64" => Kind::F64,
        "string" => Kind::String,
        "uuid" => Kind::Uuid,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        name if RESERVED.contains(&name) => {
            return Err(format!("`{name}` means something else in what is generated"));
        }
        name if name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            Kind::Struct(name.to_owned())
        }
        _ => return Err(format!("`{word}` is no type")),
    };
    Ok((kind, inner.is_some(), null))
}

fn nullable(null: Option<&str>, versions: Range) -> Option<Option<Range>> {
    match null {
        None => Some(None),
        Some("") => Some(Some(versions)),
        Some(text) => range(text, versions.last).filter(|found| versions.covers(*found)).map(Some),
    }
}

fn preset(word: &str) -> Result<Preset, String> {
    let quoted = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    match (word, quoted, word.parse()) {
        ("null", ..) => Ok(Preset::Null),
        ("true", ..) => Ok(Preset::True),
        (_, Some(text), _) => Ok(Preset::Text(text.to_owned())),
        (_, _, Ok(number)) => Ok(Preset::Number(number)),
        _ => Err(format!("`{word}` is no default")),
    }
}

/// Whether the parts of a line fit one another.
fn check(field: &Field) -> Result<(), &'static str> {
    let number = matches!(
        field.kind,
        Kind::I8 | Kind::I16 | Kind::U16 | Kind::I32 | Kind::U32 | Kind::I64 | Kind::F64
    );
    let scalar = number || matches!(field.kind, Kind::Bool | Kind::Uuid);
    if field.nullable.is_some() && scalar && !field.array {
        return Err("a value of this type is never null");
    }
    if field.fixed && (field.array || field.kind != Kind::String || field.nullable.is_none()) {
        return Err("only a string that may be null may be `fixed`");
    }
    if field.kind == Kind::Records && field.nullable.is_none() {
        return Err("records may be null wherever they are");
    }
    if field.tag.is_some() && field.kind == Kind::Records {
        return Err("records in a tagged field would have to be copied");
    }
    if field.array && matches!(field.kind, Kind::Records | Kind::Bytes) {
        return Err("no message has an array of these");
    }
    let fits = match &field.preset {
        Preset::Zero => true,
        Preset::Null => field.nullable.is_some(),
        Preset::True => field.kind == Kind::Bool && !field.array,
        Preset::Number(_) => number && !field.array,
        Preset::Text(_) => field.kind == Kind::String && !field.array,
    };
    if fits { Ok(()) } else { Err("this default is not of the field's type") }
}
