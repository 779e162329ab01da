//! The example `flight_delays`, whose processes tests start and kill by themselves.

#[path = "../../examples/flight_delays/application.rs"]
pub mod application;
#[path = "../../examples/flight_delays/batch.rs"]
pub mod batch;
#[path = "../../examples/quickstart/flights.rs"]
pub mod flights;
#[path = "../../examples/flight_delays/input.rs"]
pub mod input;
#[path = "../../examples/flight_delays/results.rs"]
pub mod results;
#[path = "../../examples/flight_delays/topology.rs"]
pub mod topology;
