//! Reassignments that a client asks for, each judged by itself, in one command.

use std::collections::BTreeMap;

use super::Planned;
use crate::cluster::message::nodes::ClientAnswer;
use crate::cluster::message::reassignment::Wish;
use crate::cluster::reassignment;
use crate::cluster::request::Reply;
use crate::image::{Command, Features, Image, Outcome};

pub(super) fn plan(
    wishes: Vec<Wish>,
    may_change_factor: bool,
    reply: Reply<ClientAnswer>,
    image: &Image,
) -> Planned {
    if let Err(refusal) = image.features().require(Features::ADMINISTRATION) {
        return Planned::answered(Err(refusal), reply);
    }
    // Of two wishes for one partition the later one counts.
    let wishes: BTreeMap<_, _> = wishes.into_iter().map(|wish| (wish.partition, wish)).collect();
    let (mut alterations, mut results) = (Vec::new(), Vec::new());
    for (partition, wish) in wishes {
        let asked = reassignment::asked(image, &wish, may_change_factor);
        results.push((partition, asked.map(|alteration| alterations.extend(alteration))));
    }
    let commands =
        if alterations.is_empty() { vec![] } else { vec![Command::AlterReassignments { alterations }] };
    Planned::of(commands, reply, move |outcomes| {
        if let Some(Outcome::Reassigned { refused }) = outcomes.first() {
            for (partition, result) in &mut results {
                if let Some((_, refusal)) = refused.iter().find(|(id, _)| id == partition) {
                    *result = Err(refusal.clone());
                }
            }
        }
        Ok(ClientAnswer::Reassigned(results))
    })
}
