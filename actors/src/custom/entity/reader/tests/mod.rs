//! What a reader does, case by case; the whole is held against a model beside this.

mod actor;
mod progress;
mod receiver;
mod rig;
