//! A node in a process of its own that hosts the accounts of a bank and may host its register, or a client that asks both:
//! see `under_test` and `asking`.

use std::process::ExitCode;

use millstream::{ActorSettings, Node};
use millstream_tests::asking::{REGISTER, Register, ask_on};
use millstream_tests::bank::accounts;
use millstream_tests::under_test::{ended, main_hosting_with};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("ask-on") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return ended(runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(ask_on(arguments))));
    }
    main_hosting_with(accounts(), |node: &Node| {
        let actors = node.actors().clone();
        async move {
            // Whoever is to stand for the name is told by the quorum, which may not be there yet.
            while actors.host_singleton(REGISTER, ActorSettings::default(), Register::default).await.is_err()
            {
            }
        }
    })
}
