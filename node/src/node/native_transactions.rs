//! What transactional native clients are served.

use std::sync::Arc;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::front::GroupFront;
use millstream_actors::group::message::transactional::{CommitInTransaction, StableOffsetFetch};
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::transactional::{FetchStable, ProduceInTransaction};
use millstream_actors::partition::message::{Acks, Produce, ProduceAnswer};
use millstream_actors::partition::verify::InTransaction;
use millstream_actors::transaction::front::TransactionFront;
use millstream_actors::transaction::message::{
    BeginTransactions, EndTransaction, FindTransactionCoordinator,
};
use millstream_actors::transaction::state::{BUMPS_WITH_EVERY_END, Beginning, Ending};
use millstream_transport::peer::{Answering, Handlers};
use millstream_transport::world::watch;

use super::native::{group, internal};

/// All that they ask.
pub(super) fn handlers(
    images: &watch::Receiver<Arc<Image>>,
    partitions: &Front,
    groups: &GroupFront,
    transactions: &TransactionFront,
) -> Handlers {
    let handlers = of_partitions(images.clone(), partitions).and(of_coordinators(transactions));
    group::<StableOffsetFetch>(group::<CommitInTransaction>(handlers, groups), groups)
}

fn of_partitions(images: watch::Receiver<Arc<Image>>, front: &Front) -> Handlers {
    let (produce, fetch) = (front.clone(), front.clone());
    Handlers::new()
        .on(move |_, asked: ProduceInTransaction, answering: Answering<ProduceInTransaction>| {
            match part_of_transaction(&images.borrow(), asked) {
                Ok(message) => produce.produce(message, move |answer| answering.answer(answer)),
                Err(refused) => answering.answer(refused),
            }
        })
        .on(move |_, FetchStable(mut message), answering: Answering<FetchStable>| {
            message.parts.iter_mut().for_each(|part| part.stable_only = true);
            fetch.fetch(message, move |answer| answering.answer(answer.into()));
        })
}

/// What is part of a transaction is there when it ends: with fewer acknowledgements than all it might not be.
/// Topics of coordinators hold what these write in transactions of clients, and nothing else.
fn part_of_transaction(image: &Image, asked: ProduceInTransaction) -> Result<Produce, ProduceAnswer> {
    let ProduceInTransaction { id, mut produce } = asked;
    let refusal = if produce.acks != Acks::All {
        Some(Refusal::new(ErrorCode::InvalidRequiredAcks, "a transaction needs acks=all"))
    } else {
        produce.parts.iter().find_map(|part| internal(image, part))
    };
    if let Some(refusal) = refusal {
        let parts = produce.parts.iter().map(|part| (part.partition, Err(refusal.clone())));
        return Err(ProduceAnswer { parts: parts.collect() });
    }
    let transaction =
        InTransaction { id: Arc::from(id), adds: true, knows_abortable: true, by_coordinator: false };
    produce.parts.iter_mut().for_each(|part| part.transaction = Some(transaction.clone()));
    Ok(produce)
}

fn of_coordinators(front: &TransactionFront) -> Handlers {
    let (find, begin, end) = (front.clone(), front.clone(), front.clone());
    Handlers::new()
        .on(move |_, asked: FindTransactionCoordinator, answering: Answering<FindTransactionCoordinator>| {
            let found = find.find(&asked.id);
            tokio::spawn(async move { answering.answer(found.await) });
        })
        .on(move |_, asked: BeginTransactions, answering: Answering<BeginTransactions>| {
            let beginning = Beginning { timeout_ms: asked.timeout_ms, has: None };
            let begun = begin.begin(&asked.id, beginning);
            tokio::spawn(async move { answering.answer(begun.await) });
        })
        .on(move |_, asked: EndTransaction, answering: Answering<EndTransaction>| {
            let EndTransaction { id, producer, commits } = asked;
            let ended = end.end(&id, Ending { producer, commits, client_version: BUMPS_WITH_EVERY_END });
            tokio::spawn(async move { answering.answer(ended.await) });
        })
}
