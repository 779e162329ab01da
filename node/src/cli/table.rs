//! Columns for people.

/// Rows under headings, as lines with aligned columns.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Self {
        Self { rows: vec![headings.map(str::to_uppercase).to_vec()] }
    }

    /// Adds a row; an empty cell is shown as `-`, what a terminal would obey as `\u{fffd}`.
    pub(super) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { harmless(&cell) };
        self.rows.push(cells.map(shown).to_vec());
    }

    /// The lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

/// A text of somebody else's, to be shown on a terminal: nothing in it moves the cursor, colours or ends a line.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// At most so many characters of a text, the last of them `…` where some are left out.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let shown: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{shown}…")
}

/// Things of a list, or `-` where there are none.
pub(super) fn joined(things: impl IntoIterator<Item = impl ToString>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["topic", "leader"]);
        table.row(["flights".to_owned(), "3".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.lines(), ["TOPIC    LEADER", "flights  3", "a        -"]);
    }

    #[test]
    fn a_terminal_obeys_no_name() {
        let mut table = Table::new(["name"]);
        table.row(["a\u{1b}[2J\nb\u{9b}".to_owned()]);
        assert_eq!(table.lines(), ["NAME", "a\u{fffd}[2J\u{fffd}b\u{fffd}"]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_shows_it() {
        assert_eq!([cut("äöü", 3), cut("äöüß", 3)], ["äöü", "äö…"]);
    }
}
