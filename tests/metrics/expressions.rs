//! What the dashboard and the alerts in `grafana/` ask of Prometheus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millstream_tests::Outcome;
use serde_json::Value;

/// A question to Prometheus.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    /// The panel or alert it belongs to.
    pub of: String,
    pub text: String,
    /// Labels that its legend names.
    pub legend: Vec<String>,
}

/// A panel of the dashboard.
#[derive(Debug)]
pub(crate) struct Panel {
    pub id: u64,
    pub title: String,
    pub description: String,
    pub expressions: Vec<Expression>,
    /// Left, top, width, height.
    pub place: [u64; 4],
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana")
}

pub(crate) fn read(file: &str) -> Outcome<String> {
    let path = folder().join(file);
    Ok(std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// The dashboards, by their names.
pub(crate) const DASHBOARDS: [&str; 3] = ["millstream", "actors", "streams"];

pub(crate) fn dashboard(name: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(&read(&format!("dashboards/{name}.json"))?)?)
}

/// The panels of a dashboard, its rows left out.
pub(crate) fn panels_of(name: &str) -> Outcome<Vec<Panel>> {
    let dashboard = dashboard(name)?;
    let panels = list(&dashboard, "panels").iter().filter(|panel| text(panel, "type") != "row");
    panels.map(panel).collect()
}

/// Those of all dashboards.
pub(crate) fn panels() -> Outcome<Vec<Panel>> {
    let each: Result<Vec<_>, _> = DASHBOARDS.into_iter().map(panels_of).collect();
    Ok(each?.into_iter().flatten().collect())
}

fn panel(panel: &Value) -> Outcome<Panel> {
    let title = text(panel, "title");
    let expressions = list(panel, "targets").iter().map(|target| Expression {
        of: format!("panel {title}"),
        text: text(target, "expr"),
        legend: in_braces(&text(target, "legendFormat")),
    });
    let number = |at: &str| panel.pointer(at).and_then(Value::as_u64).ok_or(format!("{title}: no {at}"));
    Ok(Panel {
        id: number("/id")?,
        description: text(panel, "description"),
        expressions: expressions.collect(),
        place: [number("/gridPos/x")?, number("/gridPos/y")?, number("/gridPos/w")?, number("/gridPos/h")?],
        title,
    })
}

/// The expressions of the alerts, each of which stands on one line.
pub(crate) fn alerts() -> Outcome<Vec<Expression>> {
    let file = read("alerts/millstream.yml")?;
    let mut alerts: Vec<Expression> = Vec::new();
    let mut name = None;
    for line in file.lines().map(str::trim) {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            name = Some(format!("alert {alert}"));
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            let of = name.take().ok_or("an expression without an alert")?;
            alerts.push(Expression { of, text: expression.to_owned(), legend: Vec::new() });
        } else if let (Some(alert), true) = (alerts.last_mut(), line.contains("$labels.")) {
            alert.legend.extend(in_braces(line));
        }
    }
    if let Some(name) = name { Err(format!("{name} has no expression").into()) } else { Ok(alerts) }
}

/// The names in `{{…}}`, as legends and annotations use them.
fn in_braces(text: &str) -> Vec<String> {
    let names = text.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0.trim()));
    names
        .filter(|name| *name != "$value")
        .map(|name| name.trim_start_matches("$labels.").to_owned())
        .collect()
}

impl Expression {
    /// The series it asks for.
    pub(crate) fn series(&self) -> BTreeSet<String> {
        let words = self.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("millstream_")).map(str::to_owned).collect()
    }

    /// The labels it groups by, and those that its legend or its texts name.
    pub(crate) fn labels(&self) -> BTreeSet<String> {
        let grouped = self.text.split("by (").skip(1).filter_map(|part| part.split_once(')'));
        let grouped = grouped.flat_map(|(labels, _)| labels.split(',')).map(|label| label.trim().to_owned());
        grouped.chain(self.legend.iter().cloned()).collect()
    }

    /// Whether its brackets and quotes close.
    pub(crate) fn closes(&self) -> bool {
        let mut open = Vec::new();
        let bare: String = self.text.split('"').step_by(2).collect();
        for c in bare.chars() {
            match c {
                '(' => open.push(')'),
                '{' => open.push('}'),
                '[' => open.push(']'),
                ')' | '}' | ']' if open.pop() != Some(c) => return false,
                _ => {}
            }
        }
        open.is_empty() && self.text.matches('"').count().is_multiple_of(2)
    }
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
