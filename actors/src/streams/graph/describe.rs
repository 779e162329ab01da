//! A topology as text, and as a picture for Graphviz.

use std::fmt::Write;

use super::super::topics::Topics;
use super::{Changelog, Graph, Part, Role, Topology, VertexId};

impl Topology {
    /// The topology as text: its sub-topologies, their operators and stores, and who sends to whom.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("Topology of {}\n", self.application());
        for (number, part) in self.parts.iter().enumerate() {
            line(&mut text, format_args!("  Sub-topology {number}"));
            for id in &part.vertices {
                describe_vertex(&mut text, &self.graph, part, *id);
            }
            for store in &part.stores {
                let Some(store) = self.graph.stores.get(store.0) else { continue };
                let changelog = match &store.changelog {
                    Changelog::None => "no changelog".to_owned(),
                    Changelog::Topic(topic) => format!("changelog {topic}"),
                    Changelog::Source(topic) => format!("changelog is its source {topic}"),
                };
                line(&mut text, format_args!("    store {} ({changelog})", store.name));
            }
        }
        for global in &self.graph.globals {
            line(&mut text, format_args!("  Global table {} (topic {})", global.name, global.topic));
        }
        text
    }

    /// The topology in the language of Graphviz.
    #[must_use]
    pub fn to_graphviz(&self) -> String {
        let mut text = String::from("digraph topology {\n  rankdir=LR; node [shape=box];\n");
        for (number, part) in self.parts.iter().enumerate() {
            line(&mut text, format_args!("  subgraph cluster_{number} {{ label=\"sub-topology {number}\";"));
            for id in &part.vertices {
                let Some(vertex) = self.graph.vertices.get(id.0) else { continue };
                line(&mut text, format_args!("    v{} [label={:?}];", id.0, vertex.name));
            }
            for store in &part.stores {
                let Some(spec) = self.graph.stores.get(store.0) else { continue };
                line(&mut text, format_args!("    s{} [label={:?}, shape=cylinder];", store.0, spec.name));
            }
            line(&mut text, format_args!("  }}"));
        }
        for (number, vertex) in self.graph.vertices.iter().enumerate() {
            for parent in &vertex.parents {
                line(&mut text, format_args!("  v{} -> v{number};", parent.0));
            }
            for store in &vertex.stores {
                line(&mut text, format_args!("  v{number} -> s{} [dir=none, style=dashed];", store.0));
            }
            match &vertex.role {
                Role::Source { topics: Topics::Named(topics) } => {
                    for topic in topics {
                        line(&mut text, format_args!("  {topic:?} [shape=ellipse]; {topic:?} -> v{number};"));
                    }
                }
                Role::Source { topics } => {
                    let name = topics.to_string();
                    line(&mut text, format_args!("  {name:?} [shape=ellipse]; {name:?} -> v{number};"));
                }
                Role::Sink { topic } => {
                    line(&mut text, format_args!("  {topic:?} [shape=ellipse]; v{number} -> {topic:?};"));
                }
                Role::Operator => {}
            }
        }
        for (number, global) in self.graph.globals.iter().enumerate() {
            let (name, topic) = (&global.name, &global.topic);
            line(&mut text, format_args!("  g{number} [label={name:?}, shape=cylinder];"));
            line(&mut text, format_args!("  {topic:?} [shape=ellipse]; {topic:?} -> g{number};"));
        }
        text.push_str("}\n");
        text
    }
}

fn describe_vertex(text: &mut String, graph: &Graph, part: &Part, id: VertexId) {
    let Some(vertex) = graph.vertices.get(id.0) else { return };
    let of = match &vertex.role {
        Role::Source { topics } => format!("source {} ({topics})", vertex.name),
        Role::Sink { topic } => format!("sink {} (topic {topic})", vertex.name),
        Role::Operator => format!("operator {}", vertex.name),
    };
    let stores = vertex.stores.iter().filter_map(|store| graph.stores.get(store.0));
    let stores: Vec<&str> = stores.map(|store| store.name.as_ref()).collect();
    let children = part.vertices.iter().filter_map(|child| graph.vertices.get(child.0));
    let children = children.filter(|child| child.parents.contains(&id));
    let children: Vec<&str> = children.map(|child| child.name.as_ref()).collect();
    let mut tail = String::new();
    if !stores.is_empty() {
        let _never_fails = write!(tail, " with {}", stores.join(", "));
    }
    if !children.is_empty() {
        let _never_fails = write!(tail, " --> {}", children.join(", "));
    }
    line(text, format_args!("    {of}{tail}"));
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _never_fails = writeln!(text, "{arguments}");
}
