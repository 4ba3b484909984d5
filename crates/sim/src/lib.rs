//! Whole brokers, clients, store, network and disks on one seed.
//!
//! One thread, one paused clock, one seed: whatever happens in a run happens again in the next one with that seed. Brokers
//! are nodes as the program starts them (`node::run`); what is simulated stands behind the ports of `base` and `blob`.
//!
//! | Module | Holds |
//! |---|---|
//! | [`dice`] | all that is random |
//! | [`faults`] | the kinds of faults, counted |
//! | [`trace`] | what happened, in words, and its hash |
//! | [`fiber`] | blocking work that waits in simulated time |
//! | [`host`] | when a process's tasks go on, and whether they do |
//! | [`logs`] | what brokers log, in the trace |
//! | [`broker`] | one process of a broker |
//! | [`process`] | a process that can die at any moment |
//! | [`errands`] | what has left a process and outlives it |
//! | [`store`] | the object store |

pub mod broker;
pub mod checkers;
pub mod dice;
pub mod errands;
pub mod faults;
pub mod fiber;
pub mod host;
pub mod logs;
pub mod planted;
pub mod process;
pub mod store;
pub mod trace;
