//! Prometheus' text format, read as strictly as `promtool check metrics` would, and a little more strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line that is no comment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name as it stands: of a histogram, with its ending.
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// All samples under one HELP and TYPE.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// The families of a scrape, by name.
pub(crate) type Scrape = BTreeMap<String, Family>;

/// Reads a scrape; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Scrape, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        reader.line(line).map_err(|error| format!("line {number}: {error}: {line}"))?;
    }
    reader.close()?;
    for (name, family) in &reader.families {
        check(name, family).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(reader.families)
}

#[derive(Default)]
struct Reader {
    families: Scrape,
    /// The family whose samples may come now.
    open: Option<(String, Family)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP without a text")?;
            self.close()?;
            if self.families.contains_key(name) {
                return Err("the family has come before".to_owned());
            }
            name_is_valid(name)?;
            self.open = Some((name.to_owned(), Family { help: help.to_owned(), ..Family::default() }));
            return Ok(());
        }
        let (name, family) = self.open.as_mut().ok_or("nothing comes before HELP")?;
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
            if of != name || !family.kind.is_empty() || !family.samples.is_empty() {
                return Err("TYPE comes once, right after the HELP of its name".to_owned());
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err("no such type here".to_owned());
            }
            family.kind = kind.to_owned();
            return Ok(());
        }
        if line.starts_with('#') {
            return Err("neither HELP nor TYPE".to_owned());
        }
        let sample = sample(line)?;
        let ending = sample.name.strip_prefix(name.as_str()).ok_or("of another family")?;
        let expected: &[&str] = match family.kind.as_str() {
            "" => return Err("a sample before TYPE".to_owned()),
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        if !expected.contains(&ending) {
            return Err(format!("no name for a {}", family.kind));
        }
        family.samples.push(sample);
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some((name, family)) = self.open.take() else { return Ok(()) };
        if family.samples.is_empty() {
            return Err(format!("{name} has no sample"));
        }
        self.families.insert(name, family);
        Ok(())
    }
}

fn name_is_valid(name: &str) -> Result<(), String> {
    let start = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if start && rest { Ok(()) } else { Err(format!("{name:?} is no name in snake case")) }
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    name_is_valid(name)?;
    let mut rest = rest.chars().peekable();
    let labels = if rest.next_if_eq(&'{').is_some() { labels(&mut rest)? } else { Labels::new() };
    let value: String = rest.collect();
    let value = value.strip_prefix(' ').ok_or("no blank before the value")?;
    let value = value.parse().map_err(|_| format!("{value:?} is no value, or more than one"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn labels(rest: &mut Peekable<Chars<'_>>) -> Result<Labels, String> {
    let mut labels = Labels::new();
    loop {
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=') {
            name.push(c);
        }
        name_is_valid(&name)?;
        if rest.next() != Some('=') || rest.next() != Some('"') {
            return Err(format!("label {name} has no value in quotes"));
        }
        if labels.insert(name.clone(), quoted(rest)?).is_some() {
            return Err(format!("label {name} stands twice"));
        }
        match rest.next() {
            Some(',') => {}
            Some('}') => return Ok(labels),
            other => return Err(format!("{other:?} after label {name}")),
        }
    }
}

/// What is left of a value whose first quote was taken.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('"') => return Ok(value),
            Some('\\') => match rest.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                other => return Err(format!("{other:?} after a backslash")),
            },
            Some(c) => value.push(c),
            None => return Err("a label's value does not end".to_owned()),
        }
    }
}

/// What is asked of a family as a whole.
fn check(name: &str, family: &Family) -> Result<(), String> {
    if family.kind.is_empty() {
        return Err("no TYPE".to_owned());
    }
    if (family.kind == "counter") != name.ends_with("_total") {
        return Err("counters, and they alone, end in _total".to_owned());
    }
    let reserved = ["_bucket", "_sum", "_count"].iter().any(|ending| name.ends_with(ending));
    let unit = [
        "ms", "us", "ns", "s", "sec", "kb", "mb", "gb", "b", "m", "h", "d", "minutes", "hours", "days",
        "bits",
    ];
    if reserved || name.split('_').any(|word| unit.contains(&word)) {
        return Err("the name says something that its kind or Prometheus' units do not".to_owned());
    }
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("{:?} stands twice", sample.labels));
        }
        if !sample.value.is_finite() || (family.kind != "gauge" && sample.value < 0.0) {
            return Err(format!("{} is no value for a {}", sample.value, family.kind));
        }
        if family.kind != "histogram" && sample.labels.contains_key("le") {
            return Err("le belongs to histograms".to_owned());
        }
    }
    if family.kind == "histogram" { check_histogram(family) } else { Ok(()) }
}

/// Of one combination of labels.
#[derive(Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

fn check_histogram(family: &Family) -> Result<(), String> {
    let mut histograms: BTreeMap<Labels, Histogram> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let of = histograms.entry(labels).or_default();
        if sample.name.ends_with("_bucket") {
            let bound = bound.ok_or("a bucket without le")?;
            of.buckets.push((bound.parse().map_err(|_| format!("le={bound:?}"))?, sample.value));
        } else if bound.is_some() {
            return Err("le belongs to buckets".to_owned());
        } else if sample.name.ends_with("_sum") {
            of.sum = Some(sample.value);
        } else {
            of.count = Some(sample.value);
        }
    }
    for (labels, Histogram { buckets, sum, count }) in histograms {
        let rises = buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        let last = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY);
        let Some((_, all)) = last else { return Err(format!("{labels:?}: no bucket +Inf at the end")) };
        if !rises || sum.is_none() || count != Some(*all) {
            return Err(format!("{labels:?}: buckets, _sum and _count do not fit together"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "\
# HELP a_total What.
# TYPE a_total counter
a_total{a=\"x\\\"y\\\\\",b=\"\"} 3
a_total 4

# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{le=\"0.1\"} 1
a_seconds_bucket{le=\"+Inf\"} 2
a_seconds_sum 0.5
a_seconds_count 2
";

    #[test]
    fn what_is_well_is_read() {
        let scrape = parse(WELL).unwrap();
        assert_eq!(scrape.len(), 2);
        assert_eq!(scrape["a_total"].samples[0].labels["a"], "x\"y\\");
        assert_eq!(scrape["a_total"].samples[1].value, 4.0);
    }

    #[test]
    fn what_is_not_well_is_refused() {
        for (from, to) in [
            ("# HELP a_total What.\n", ""),
            ("# TYPE a_total counter\n", ""),
            ("# TYPE a_total counter", "# TYPE a_total summary"),
            ("# TYPE a_total counter", "# TYPE a_total gauge"),
            ("a_total 4", "a_total 4 5 6"),
            ("a_total 4", "a_total -1"),
            ("a_total 4", "a_total NaN"),
            ("a_total 4", "n_total 4"),
            ("a_total 4", "a_total{a=\"x\\\"y\\\\\",b=\"\"} 4"),
            ("b=\"\"", "a=\"\""),
            ("b=\"\"", "b="),
            ("b=\"\"", "B=\"\""),
            ("x\\\"y", "x\\zy"),
            ("a_seconds_bucket{le=\"+Inf\"} 2\n", ""),
            ("a_seconds_bucket{le=\"0.1\"} 1", "a_seconds_bucket{le=\"0.1\"} 3"),
            ("a_seconds_bucket{le=\"0.1\"} 1", "a_seconds_bucket 1"),
            ("a_seconds_sum 0.5\n", ""),
            ("a_seconds_count 2", "a_seconds_count 3"),
            ("a_seconds_count 2\n", "a_seconds_count 2"),
            ("# HELP a_seconds How long.", "# HELP a_total What."),
        ] {
            assert!(WELL.contains(from), "{from}");
            let text = WELL.replace(from, to);
            assert!(parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_with_units_that_prometheus_does_not_use_are_refused() {
        for name in ["a_ms", "a_count", "a_wait_minutes"] {
            let text = format!("# HELP {name} What.\n# TYPE {name} gauge\n{name} 1\n");
            assert!(parse(&text).is_err(), "{name}");
        }
    }
}
