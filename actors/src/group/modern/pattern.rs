//! Topics subscribed to by regular expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

use crate::error::{ErrorCode, Refusal};
use crate::group::topics::TopicsView;

/// The longest expression taken, in bytes.
const MAX_BYTES: usize = 1_024;

/// The largest compiled expression taken, in bytes.
const MAX_COMPILED_BYTES: usize = 64 * 1_024;

/// Compiles an expression, which has to match the whole of a name.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let refuse = |why: &str| {
        let text = format!("the subscription's regular expression {pattern:?} is wrong: {why}");
        Refusal::new(ErrorCode::InvalidRegularExpression, text)
    };
    if pattern.len() > MAX_BYTES {
        let text =
            format!("the subscription's regular expression has {} bytes; at most {MAX_BYTES}", pattern.len());
        return Err(Refusal::new(ErrorCode::InvalidRegularExpression, text));
    }
    // By itself first: `a)(b` is none, but would be one within the brackets.
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).build();
    build(pattern).map_err(|error| refuse(&error.to_string()))?;
    build(&format!("^(?:{pattern})$")).map_err(|error| refuse(&error.to_string()))
}

/// What expressions matched, so that topics are gone through once per expression and change of topics.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    version: Option<u64>,
    matched: BTreeMap<Arc<str>, Arc<[Arc<str>]>>,
}

impl Patterns {
    /// The names that an expression matches. Names of internal topics, which begin with `__`, are not matched.
    pub(super) fn matches(&mut self, pattern: &Arc<str>, topics: &dyn TopicsView) -> Arc<[Arc<str>]> {
        if self.version != Some(topics.version()) {
            self.matched.clear();
            self.version = Some(topics.version());
        }
        if let Some(names) = self.matched.get(pattern) {
            return Arc::clone(names);
        }
        // One that was taken before and is refused now matches nothing.
        let names: Arc<[Arc<str>]> = match compile(pattern) {
            Ok(regex) => topics
                .names()
                .into_iter()
                .filter(|name| !name.starts_with("__") && regex.is_match(name))
                .collect(),
            Err(_) => Arc::new([]),
        };
        self.matched.insert(Arc::clone(pattern), Arc::clone(&names));
        names
    }

    /// Forgets expressions that nobody subscribes to.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&Arc<str>) -> bool) {
        self.matched.retain(|pattern, _| wanted(pattern));
    }
}
