//! Text of Rust, indented.

use std::fmt::Display;

use crate::schema::Range;

/// On each function of a struct: inlined into one another they take a tenth longer to compile, and run no faster.
pub(crate) const NOT_INLINED: &str = "#[inline(never)]";

/// Lines that were written so far.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) text: String,
    depth: usize,
}

impl Code {
    pub(crate) fn line(&mut self, line: impl Display) {
        self.text.push_str(&"    ".repeat(self.depth));
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    /// A line that ends in an opening brace; what follows is indented.
    pub(crate) fn open(&mut self, line: impl Display) {
        self.line(format_args!("{line} {{"));
        self.depth += 1;
    }

    pub(crate) fn close(&mut self) {
        self.close_with("}");
    }

    pub(crate) fn close_with(&mut self, line: &str) {
        self.depth -= 1;
        self.line(line);
    }
}

/// A test whether `v` is in `range`; nothing if it is in all versions of `outer`.
pub(crate) fn condition(range: Range, outer: Range) -> Option<String> {
    let Range { first, last } = range;
    match (first <= outer.first, last >= outer.last) {
        (true, true) => None,
        (true, false) => Some(format!("v <= {last}")),
        (false, true) => Some(format!("v >= {first}")),
        (false, false) if first == last => Some(format!("v == {first}")),
        (false, false) => Some(format!("({first}..={last}).contains(&v)")),
    }
}

/// The opposite of [`condition`].
pub(crate) fn opposite(range: Range, outer: Range) -> Option<String> {
    let Range { first, last } = range;
    match (first <= outer.first, last >= outer.last) {
        (true, true) => None,
        (true, false) => Some(format!("v > {last}")),
        (false, true) => Some(format!("v < {first}")),
        (false, false) if first == last => Some(format!("v != {first}")),
        (false, false) => Some(format!("!({first}..={last}).contains(&v)")),
    }
}

/// Whether `v` is used in `text` as [`condition`] and [`opposite`] use it.
pub(crate) fn uses_version(text: &str) -> bool {
    ["v <", "v >", "v == ", "v != ", "contains(&v)"].iter().any(|found| text.contains(found))
}

/// `3–13`, or `3` alone.
pub(crate) fn shown(range: Range) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}–{}", range.first, range.last)
    }
}

/// A field's name as one of Rust: three of them are words of the language.
pub(crate) fn identifier(name: &str) -> String {
    if matches!(name, "match" | "type" | "ref" | "mod" | "as" | "in" | "use" | "where") {
        format!("r#{name}")
    } else {
        name.to_owned()
    }
}
