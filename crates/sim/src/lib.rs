//! Whole brokers, clients, store, network and disks on one seed.
//!
//! One thread, one paused clock, one seed: whatever happens in a run happens again in the next one with that seed. Brokers
//! are nodes as the program starts them (`node::run`); what is simulated stands behind the ports of `base` and `blob`.
//!
//! | Module | Holds |
//! |---|---|
//! | [`dice`] | all that is random |
//! | [`counts`], [`faults`], [`deeds`] | the kinds of faults and of what clients get done, counted |
//! | [`trace`] | what happened, in words, and its hash |
//! | [`fiber`] | blocking work that waits in simulated time |
//! | [`scheduler`] | which task runs next |
//! | [`host`] | when a process's tasks go on, and whether they do |
//! | [`logs`] | what brokers log, in the trace |
//! | [`broker`] | one process of a broker |
//! | [`process`] | a process that can die at any moment |
//! | [`disk`] | files and block devices, which tear and forget |
//! | [`net`] | connections, which are slow and break |
//! | [`errands`] | what has left a process and outlives it |
//! | [`store`] | an object store, which refuses, forgets to answer and answers late |
//! | [`client`] | producers, consumers, members of groups, administrators |
//! | [`world`] | all that a run's processes share |
//! | [`weather`], [`nemesis`] | what befalls it |
//! | [`checkers`] | what must be true meanwhile |
//! | [`run`], [`campaign`] | one seed, and many |
//! | [`planted`] | bugs that must be found, panics that must do no harm |

pub mod broker;
pub mod campaign;
pub mod checkers;
pub mod client;
pub mod counts;
pub mod deeds;
pub mod dice;
pub mod disk;
pub mod errands;
pub mod faults;
pub mod fiber;
pub mod host;
pub mod logs;
pub mod nemesis;
pub mod net;
pub mod planted;
pub mod process;
pub mod run;
pub mod scheduler;
pub mod store;
pub mod trace;
pub mod weather;
pub mod world;
