//! Every decision of the coordinator, and no I/O
