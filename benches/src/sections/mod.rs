//! The parts of a run.

pub mod actors;
pub mod cache;
pub mod growth;
pub mod latency;
pub mod life;
pub mod memory;
pub mod operations;
pub mod outside;
pub mod threads;
