//! The table of error codes: `error CODE NAME [retriable]`, a line each.

use crate::schema::Fault;

/// One error code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode {
    pub(crate) code: i16,
    /// As Kafka writes it: capitals and underscores.
    pub(crate) name: String,
    pub(crate) retriable: bool,
}

/// All codes of a table.
pub(crate) fn parse(text: &str) -> Result<Vec<ErrorCode>, Fault> {
    let mut errors = Vec::<ErrorCode>::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        let (code, name, retriable) = match words.as_slice() {
            [] => continue,
            ["error", code, name] => (code, name, false),
            ["error", code, name, "retriable"] => (code, name, true),
            _ => return Err(Fault::new(index + 1, "`error CODE NAME` with or without `retriable` expected")),
        };
        let code = code.parse().map_err(|_| Fault::new(index + 1, format!("`{code}` is no error code")))?;
        if errors.iter().any(|error| error.code == code) {
            return Err(Fault::new(index + 1, format!("a second error {code}")));
        }
        errors.push(ErrorCode { code, name: (*name).to_owned(), retriable });
    }
    Ok(errors)
}
