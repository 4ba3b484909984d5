//! Whole brokers, clients, store, network and disks on one seed.
