//! Write participants and initiators of Tercet transactions
