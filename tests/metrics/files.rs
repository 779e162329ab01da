//! Are the dashboard and the alerts whole, before any cluster is asked?

use std::collections::{BTreeMap, BTreeSet};

use millstream_actors::events::catalogue;
use serde_json::Value;

use crate::expressions::{self, DASHBOARDS, alerts, dashboard, list, panels, panels_of, text};

#[test]
fn every_expression_asks_for_series_that_exist_by_labels_they_have() {
    let known: BTreeMap<_, _> = catalogue::all().map(|series| (series.name, series)).collect();
    let of_panels = panels().unwrap().into_iter().flat_map(|panel| panel.expressions);
    for expression in of_panels.chain(alerts().unwrap()) {
        let of = &expression.of;
        assert!(expression.closes(), "{of}: {}", expression.text);
        assert!(!expression.series().is_empty() || expression.text.starts_with("up{"), "{of} asks nothing");
        let mut labels = BTreeSet::from(["job", "instance", "le"]);
        for name in expression.series() {
            let bare = name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_count"));
            let histogram = bare.and_then(|name| known.get(name));
            let series = known.get(&*name).or(histogram);
            let series = series.unwrap_or_else(|| panic!("{of} asks for {name}, which nobody tells"));
            labels.extend(series.labels.names());
        }
        for label in expression.labels() {
            assert!(labels.contains(&*label), "{of}: no label {label}");
        }
    }
}

#[test]
fn buckets_are_summed_over_nodes_before_a_quantile_is_taken() {
    for expression in panels().unwrap().into_iter().flat_map(|panel| panel.expressions) {
        let (of, text) = (&expression.of, &expression.text);
        let summed = ["sum by (le) (rate(", "sum by (le, kind) (rate(", "sum by (le, application) (rate("];
        assert!(!text.contains("_bucket") || summed.iter().any(|sum| text.contains(sum)), "{of}");
    }
}

#[test]
fn every_panel_has_its_question_and_the_readme_lists_it() {
    let readme = expressions::read("README.md").unwrap();
    for panel in panels().unwrap() {
        assert!(panel.description.ends_with('?'), "{}: {:?}", panel.title, panel.description);
        assert!(!panel.expressions.is_empty(), "{} asks nothing", panel.title);
        let line = format!("| {} | {} |", panel.title, panel.description);
        assert!(readme.contains(&line), "grafana/README.md lacks {line}");
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    for name in DASHBOARDS {
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels_of(name).unwrap() {
            assert!(ids.insert(panel.id), "{}", panel.title);
            let [left, top, width, height] = panel.place;
            assert!(left + width <= 24, "{} is too wide", panel.title);
            for cell in (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{} lies over another panel", panel.title);
            }
        }
    }
}

#[test]
fn each_dashboard_asks_the_data_source_that_is_chosen_in_it() {
    for (name, last) in DASHBOARDS.into_iter().zip(["group", "kind", "application"]) {
        let dashboard = dashboard(name).unwrap();
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
        let variables = list(&dashboard["templating"], "list").iter();
        let variables: Vec<_> = variables.map(|variable| text(variable, "name")).collect();
        assert_eq!(variables, ["datasource", "job", "instance", last]);
        for panel in list(&dashboard, "panels").iter().filter(|panel| text(panel, "type") != "row") {
            for asked in list(panel, "targets").iter().chain([panel]) {
                assert_eq!(asked["datasource"]["uid"], Value::from("${datasource}"), "{}", panel["title"]);
            }
        }
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let file = expressions::read("alerts/millstream.yml").unwrap();
    for alert in file.split("- alert: ").skip(1) {
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "no {part} in {alert}");
        }
    }
}
